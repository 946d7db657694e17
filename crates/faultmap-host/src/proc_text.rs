//! The texts of `/proc` that are tables of numbers, taken apart. Pure: whatever the text, it ends and never panics, and
//! what cannot be read is left out rather than taken for 0.

use faultmap_model::host::{CpuSample, PressureSample, SoftnetCpu};
use std::collections::BTreeMap;

/// CPUs read.
const CPUS_MAX: usize = 8192;

/// `softnet_stat`: hexadecimal columns, a line for each CPU (`softnet_seq_show`, net/core/net-procfs.c).
#[must_use]
pub fn softnet(text: &str) -> Vec<SoftnetCpu> {
    let line = |line: &str| {
        let mut columns = line.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16).ok());
        let (processed, dropped, squeezed) = (columns.next()??, columns.next()??, columns.next()??);
        // Column 14 is the input queue, 15 the queue in work; both since 5.10.
        let queued = columns.nth(10).flatten().map(|input| input.saturating_add(columns.next().flatten().unwrap_or(0)));
        Some(SoftnetCpu { processed, dropped, squeezed, queued })
    };
    text.lines().take(CPUS_MAX).filter_map(line).collect()
}

/// `sockstat` and `sockstat6`: `TCP: inuse 1 orphan 0 tw 42` becomes `TCP.inuse`, `TCP.orphan`, `TCP.tw`.
#[must_use]
pub fn sockstat(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in text.lines().take(64) {
        let Some((table, fields)) = line.split_once(':') else { continue };
        let mut words = fields.split_ascii_whitespace();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if let Ok(value) = value.parse() {
                found.insert(format!("{table}.{name}"), value);
            }
        }
    }
    found
}

/// `/proc/net/stat/*`: a line of names, then a line of hexadecimal numbers for each CPU; summed. `entries` is no counter
/// and the same on every line: left out.
#[must_use]
pub fn per_cpu_hex(text: &str) -> BTreeMap<String, u64> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.take(CPUS_MAX) {
        for (name, value) in names.iter().zip(line.split_ascii_whitespace()) {
            if let (Ok(value), true) = (u64::from_str_radix(value, 16), *name != "entries") {
                let sum = found.entry((*name).to_owned()).or_insert(0);
                *sum = sum.saturating_add(value);
            }
        }
    }
    found
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// Its name, at most 15 bytes, made printable.
    pub name: String,
    /// `R`, `S`, `D`, `T`, `t`, `Z`, ...
    pub state: char,
    /// User and system time of all threads, ticks of a hundredth of a second.
    pub ticks: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// `PID (NAME) STATE …`; the name may itself hold brackets and spaces.
#[must_use]
pub fn process_stat(text: &str) -> Option<ProcessStat> {
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
    let number = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
    Some(ProcessStat {
        name: name.chars().filter(|c| !c.is_control()).take(15).collect(),
        state: fields.first()?.chars().next()?,
        // Fields 14, 15 and 20 of proc_pid_stat(5), which counts from 1; the state is field 3.
        ticks: number(11).zip(number(12)).map(|(user, system)| user.saturating_add(system)),
        threads: number(17),
    })
}

/// `schedstat`: nanoseconds run, nanoseconds ready without a CPU, turns.
#[must_use]
pub fn schedstat(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// `file-nr`: open, free, and the most that may be.
#[must_use]
pub fn file_nr(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    let (open, free, most): (u64, u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((open.saturating_sub(free), most))
}

/// The soft limit of open files in `/proc/PID/limits`; `None` also when it is unlimited.
#[must_use]
pub fn open_files_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `/proc/pressure/*`: the line `some`.
#[must_use]
pub fn pressure(text: &str) -> Option<PressureSample> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let field = |name: &str| line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let some_avg10: f64 = field("avg10")?.parse().ok()?;
    Some(PressureSample { some_us: field("total")?.parse().ok()?, some_avg10: Some(some_avg10).filter(|share| share.is_finite())? })
}

/// `/proc/stat`: the line of all CPUs, and how many there are.
#[must_use]
pub fn cpu(text: &str) -> Option<CpuSample> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let at = |place: usize| ticks.get(place).copied();
    let is_cpu = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is within user time already.
    let total = ticks.iter().take(8).fold(0_u64, |sum, value| sum.saturating_add(*value));
    Some(CpuSample {
        cpus: u32::try_from(text.lines().filter(is_cpu).count()).ok()?,
        total,
        idle: at(3)?.saturating_add(at(4).unwrap_or(0)),
        steal: at(7).unwrap_or(0),
        softirq: at(6)?,
    })
}

/// `ip_local_port_range`.
#[must_use]
pub fn port_range(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// How many ports of `low` to `high` the list of `ip_local_reserved_ports` (`8080,9000-9010`) holds back.
#[must_use]
pub fn reserved_ports(text: &str, low: u16, high: u16) -> u32 {
    let within = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        let (from, to) = (from.max(low), to.min(high));
        (from <= to).then(|| u32::from(to) - u32::from(from) + 1)
    };
    text.split(',').take(4096).filter_map(within).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn softnet_counts_are_hexadecimal_and_the_backlog_is_in_the_fourteenth_column() {
        let text = "0087b671 0000000a 00000002 0 0 0 0 0 0 00000000 00000000 00000000 00000001 00000003 00000004\n";
        let expected = SoftnetCpu { processed: 0x87_b671, dropped: 10, squeezed: 2, queued: Some(3 + 4) };
        assert_eq!(softnet(text), [expected]);
        assert_eq!(softnet("1 2 3 0 0 0 0 0 0 0\n")[0].queued, None);
    }

    #[test]
    fn sockstat_is_read_by_table_and_name() {
        let read = sockstat("sockets: used 16\nTCP: inuse 1 orphan 0 tw 42 alloc 1 mem 27\nFRAG: inuse 0 memory 0\n");
        assert_eq!((read.get("TCP.tw"), read.get("FRAG.memory"), read.get("sockets.used")), (Some(&42), Some(&0), Some(&16)));
    }

    #[test]
    fn conntracks_counts_are_hexadecimal_and_summed_over_cpus() {
        let text = "entries insert_failed drop early_drop\n00000010 00000001 0000000a 00000000\n00000010 00000000 00000010 00000002\n";
        let read = per_cpu_hex(text);
        assert_eq!((read.get("drop"), read.get("insert_failed"), read.get("entries")), (Some(&26), Some(&1), None));
    }

    #[test]
    fn a_process_may_have_brackets_in_its_name() {
        let text = "20006 (we b) (x) T 1 1 1 1 0 0 97 0 0 0 40 2 0 0 20 0 3 0 2657996 3133440\n";
        let expected = ProcessStat { name: "we b) (x".to_owned(), state: 'T', ticks: Some(42), threads: Some(3) };
        assert_eq!(process_stat(text), Some(expected));
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let text = "Max processes             1 2 processes\nMax open files            1024                 524288               files\n";
        assert_eq!(open_files_limit(text), Some(1024));
        assert_eq!(open_files_limit("Max open files            unlimited            unlimited            files\n"), None);
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        let read = cpu("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 0 0\ncpu1 0 0\nintr 1\n").expect("a line");
        assert_eq!(read, CpuSample { cpus: 2, total: 36, idle: 9, steal: 8, softirq: 7 });
    }

    #[test]
    fn reserved_ports_outside_the_range_hold_nothing_back() {
        assert_eq!(reserved_ports("80,32768-32770,60998-61005", 32768, 60999), 3 + 2);
        assert_eq!(reserved_ports("", 1, 2), 0);
    }

    #[test]
    fn pressure_is_that_of_some_task() {
        let read = pressure("some avg10=96.77 avg60=96.38 avg300=79.66 total=7387576756\nfull avg10=0.00 total=0\n");
        assert_eq!(read, Some(PressureSample { some_us: 7_387_576_756, some_avg10: 96.77 }));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "((cpu |some |Max open files|TCP:|total=|avg10=|[a-z_()]{1,8}|[0-9a-f]{1,20}|,|-)[ \\t\\n]{0,2}){0,40}") {
            let _ = (softnet(&text), sockstat(&text), per_cpu_hex(&text), process_stat(&text), schedstat(&text));
            let _ = (file_nr(&text), open_files_limit(&text), pressure(&text), cpu(&text), port_range(&text));
            prop_assert!(reserved_ports(&text, 1, 65_535) <= 4096 * 65_535);
        }
    }
}
