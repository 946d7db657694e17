//! The beginning of a message that came in pieces: kept until it is whole, up to a bound, and not copied where it comes whole.

/// Keeps more bytes, as far as there is room for them.
pub(super) fn keep(kept: &mut Vec<u8>, more: &[u8], most: usize) {
    let room = most.saturating_sub(kept.len());
    kept.extend_from_slice(more.get(..room).unwrap_or(more));
}

/// Bytes kept until there are enough of them.
#[derive(Debug, Default)]
pub(super) struct Gather {
    kept: Vec<u8>,
}

/// What came of one more piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// Whole: the message is so many bytes of [`Gather::whole`]; so many bytes of the piece belong to it.
    Whole(usize, usize),
    /// More is needed; the piece is kept.
    More,
    /// Longer than the bound; nothing is kept.
    TooLong,
}

impl Gather {
    /// Looks whether the bytes kept and `piece` together begin with a whole message; `length` says how long it is, when it can. Its second argument is how
    /// many of the bytes it has already seen, so that it need not look at them again.
    pub(super) fn offer(&mut self, piece: &[u8], most: usize, length: impl Fn(&[u8], usize) -> Option<usize>) -> Gathered {
        let before = self.kept.len();
        if before == 0 {
            match length(piece, 0) {
                Some(whole) if whole <= piece.len() => return Gathered::Whole(whole, whole),
                _ if piece.len() > most => return Gathered::TooLong,
                _ => {
                    self.kept.extend_from_slice(piece);
                    return Gathered::More;
                }
            }
        }
        keep(&mut self.kept, piece, most.saturating_add(1));
        match length(&self.kept, before) {
            Some(whole) if whole <= self.kept.len() && whole >= before => Gathered::Whole(whole, whole - before),
            _ if self.kept.len() > most => {
                self.clear();
                Gathered::TooLong
            }
            _ => Gathered::More,
        }
    }

    /// The message that [`Gather::offer`] found whole.
    pub(super) fn whole<'a>(&'a self, piece: &'a [u8], len: usize) -> &'a [u8] {
        let from = if self.kept.is_empty() { piece } else { &self.kept };
        from.get(..len).unwrap_or_default()
    }

    /// Forgets what is kept.
    pub(super) fn clear(&mut self) {
        self.kept = Vec::new();
    }

    /// Nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }
}

/// Where a head of lines ends: after its first empty line.
pub(super) fn blank_line(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3);
    let mut index = from;
    while let Some(found) = bytes.get(index..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let at = index + found;
        match bytes.get(at + 1..) {
            Some([b'\n', ..]) => return Some(at + 2),
            Some([b'\r', b'\n', ..]) => return Some(at + 3),
            _ => index = at + 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_wherever_it_was_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for cut in 0..head.len() - 5 {
            let (mut gather, (one, two)) = (Gather::default(), head.split_at(cut));
            if cut > 0 {
                assert_eq!(gather.offer(one, 100, blank_line), Gathered::More, "{cut}");
            }
            assert_eq!(gather.offer(two, 100, blank_line), Gathered::Whole(27, 27 - cut), "{cut}");
            assert_eq!(gather.whole(two, 27), &head[..27]);
        }
    }

    #[test]
    fn a_head_without_end_is_let_go() {
        let mut gather = Gather::default();
        assert_eq!(gather.offer(&[b'a'; 60], 100, blank_line), Gathered::More);
        assert_eq!(gather.offer(&[b'a'; 60], 100, blank_line), Gathered::TooLong);
        assert!(gather.is_empty());
    }
}
