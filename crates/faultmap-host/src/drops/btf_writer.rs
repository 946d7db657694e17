//! Writes BTF for tests: a kernel's description with only the types that are asked for. Never part of the program.

/// Collects types; the numbers that it returns are those of BTF.
#[derive(Debug, Default)]
pub(super) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

const BIT_FIELDS: u32 = 1 << 31;

impl Writer {
    /// The number of the type that is written next.
    pub(super) fn next(&self) -> u32 {
        self.count + 1
    }

    pub(super) fn raw(&mut self, name: u32, info: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    fn text(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn kind(&mut self, kind: u32, name: &str, size_or_type: u32) -> u32 {
        let name = self.text(name);
        self.raw(name, kind << 24, size_or_type, &[])
    }

    pub(super) fn int(&mut self, name: &str, size: u32) -> u32 {
        let name = self.text(name);
        self.raw(name, 1 << 24, size, &[size * 8])
    }

    pub(super) fn pointer(&mut self, to: u32) -> u32 {
        self.kind(2, "", to)
    }

    pub(super) fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.kind(8, name, of)
    }

    pub(super) fn constant(&mut self, of: u32) -> u32 {
        self.kind(10, "", of)
    }

    /// Members: name, type, byte.
    pub(super) fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let members: Vec<_> = members.iter().map(|(name, id, byte)| (*name, *id, byte * 8)).collect();
        self.composite(4 << 24, name, size, &members)
    }

    pub(super) fn union(&mut self, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let members: Vec<_> = members.iter().map(|(name, id, byte)| (*name, *id, byte * 8)).collect();
        self.composite(5 << 24, "", size, &members)
    }

    /// Members: name, type, bit, width in bits.
    pub(super) fn bit_fields(&mut self, name: &str, size: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        let members: Vec<_> = members.iter().map(|(name, id, bit, width)| (*name, *id, bit | width << 24)).collect();
        self.composite(4 << 24 | BIT_FIELDS, name, size, &members)
    }

    fn composite(&mut self, info: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> = members.iter().flat_map(|(name, id, place)| [self.text(name), *id, *place]).collect();
        let name = self.text(name);
        self.raw(name, info | members.len() as u32, size, &tail)
    }

    pub(super) fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = values.iter().flat_map(|(name, value)| [self.text(name), *value]).collect();
        let name = self.text(name);
        self.raw(name, 6 << 24 | values.len() as u32, 4, &tail)
    }

    /// `typedef void (*btf_trace_NAME)(void *, arguments…)`.
    pub(super) fn tracepoint(&mut self, name: &str, arguments: &[u32]) {
        let void = self.pointer(0);
        let tail: Vec<u32> = std::iter::once(&void).chain(arguments).flat_map(|argument| [0, *argument]).collect();
        let function = self.raw(0, 13 << 24 | (arguments.len() as u32 + 1), 0, &tail);
        let pointer = self.pointer(function);
        self.typedef(&format!("btf_trace_{name}"), pointer);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = 0xeb9f_u16.to_ne_bytes().to_vec();
        out.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(&self.types);
        out.extend(&self.strings);
        out
    }
}

/// What a kernel of today says, by the members that we ask for; the places are made up.
pub(super) fn kernel() -> Writer {
    kernel_without(&[])
}

/// The same, less the tracepoint (`tracepoint`), its reason (`reason`), its socket (`rx_sk`) or a member.
pub(super) fn kernel_without(left_out: &[&str]) -> Writer {
    let mut writer = Writer::default();
    let has = |name: &str| !left_out.contains(&name);
    let void = writer.pointer(0);
    let word = writer.int("unsigned int", 4);
    let half = writer.int("unsigned short", 2);
    let byte = writer.int("unsigned char", 1);
    let long = writer.int("long unsigned int", 8);
    let half_type = writer.typedef("__be16", half);
    let tail_type = writer.typedef("sk_buff_data_t", word);
    let byte_volatile = writer.constant(byte);
    let common = writer.structure("ns_common", 32, &[("stashed", void, 0), ("inum", word, 16)]);
    let (net_struct, device_struct) = (writer.next(), writer.next() + 1);
    writer.structure("net", 4000, &[("ns", common, 144), ("loopback_dev", device_struct + 1, 432)]);
    writer.structure("net_device", 2400, &[("nd_net", device_struct + 3, 264)]);
    let device = writer.pointer(device_struct);
    let net = writer.pointer(net_struct);
    let net_type = writer.structure("possible_net_t", 8, &[("net", net, 0)]);
    let common = writer.structure("sock_common", 136, &[("skc_state", byte_volatile, 18), ("skc_net", net_type, 48)]);
    let socket = writer.structure("socket", 128, &[("file", void, 16)]);
    let socket_pointer = writer.pointer(socket);
    let inode = writer.structure("inode", 600, &[("i_ino", long, 64)]);
    writer.structure("socket_alloc", 728, &[("socket", socket, 0), ("vfs_inode", inode, 128)]);
    let sock = writer.structure("sock", 760, &[("__sk_common", common, 0), ("sk_socket", socket_pointer, 280)]);
    let sock = writer.pointer(sock);
    let head = writer.pointer(byte);
    let queued = writer.structure("", 24, &[("next", void, 0), ("prev", void, 8), ("dev", device, 16)]);
    let queued = writer.union(24, &[("", queued, 0)]);
    let headers = writer.structure("", 60, &[("protocol", half_type, 48), ("network_header", half, 52)]);
    let headers = writer.union(60, &[("", headers, 0)]);
    let members = [("", queued, 0), ("sk", sock, 24), ("", headers, 128), ("tail", tail_type, 184), ("head", head, 192)];
    let members: Vec<_> = members.into_iter().filter(|(name, _, _)| has(name)).collect();
    let skb = writer.structure("sk_buff", 224, &members);
    let skb = writer.pointer(skb);
    let reasons = [("SKB_NOT_DROPPED_YET", 0), ("SKB_CONSUMED", 1), ("SKB_DROP_REASON_NOT_SPECIFIED", 2), ("SKB_DROP_REASON_NO_SOCKET", 3)];
    let reasons = writer.enumeration("skb_drop_reason", &reasons);
    writer.enumeration("skb_drop_reason_subsys", &[("SKB_DROP_REASON_SUBSYS_CORE", 0), ("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 3)]);
    let arguments = [("skb", skb), ("location", void), ("reason", reasons), ("rx_sk", sock)];
    let arguments: Vec<u32> = arguments.into_iter().filter(|(name, _)| has(name)).map(|(_, id)| id).collect();
    if has("tracepoint") {
        writer.tracepoint("kfree_skb", &arguments);
    }
    writer
}
