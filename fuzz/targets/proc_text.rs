//! The texts of /proc, whatever stands in them: read without panic, and no number is made up.
#![cfg_attr(fuzzing, no_main)]

use faultmap_host::proc_text;

faultmap_fuzz::target!(|data| {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().count();
    assert!(proc_text::softnet(&text).len() <= lines);
    let digits = text.chars().any(|c| c.is_ascii_hexdigit());
    assert!(digits || (proc_text::sockstat(&text).is_empty() && proc_text::per_cpu_hex(&text).is_empty()));
    if let Some(stat) = proc_text::process_stat(&text) {
        assert!(stat.name.chars().count() <= 15 && !stat.name.chars().any(char::is_control));
    }
    if let Some((open, _)) = proc_text::file_nr(&text) {
        assert!(digits || open == 0);
    }
    if let Some(pressure) = proc_text::pressure(&text) {
        assert!(pressure.some_avg10.is_finite());
    }
    if let Some(cpu) = proc_text::cpu(&text) {
        assert!(cpu.idle <= cpu.total && cpu.steal <= cpu.total && cpu.softirq <= cpu.total);
    }
    if let Some((low, high)) = proc_text::port_range(&text)
        && low <= high
    {
        assert!(proc_text::reserved_ports(&text, low, high) <= 4096 * 65_536);
    }
    let _ = (proc_text::schedstat(&text), proc_text::open_files_limit(&text));
});
