//! Makes one function of bytes into a fuzz target for libFuzzer (nightly, `cargo fuzz`) and, on stable, into a program and a test that
//! replay the target's seeds and simple mutations of them. Knows no parser.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mutations of each seed in the test on stable; few, so that it stays a test.
const MUTATIONS: u64 = 500;
/// Longest input that mutation makes.
const MOST_BYTES: usize = 4096;

/// Declares a target. The file of a target is this one macro under `#![cfg_attr(fuzzing, no_main)]`.
#[macro_export]
macro_rules! target {
    (|$data:ident| $body:block) => {
        #[cfg(fuzzing)]
        ::libfuzzer_sys::fuzz_target!(|$data: &[u8]| $body);

        #[cfg(not(fuzzing))]
        fn run($data: &[u8]) $body

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::main(env!("CARGO_BIN_NAME"), run);
        }

        #[cfg(test)]
        #[test]
        fn seeds_and_their_mutations_hold() {
            $crate::check(env!("CARGO_BIN_NAME"), run);
        }
    };
}

/// The program on stable: replays the files and folders given; with `--seconds N`, mutates the seeds for so long; else as the test.
pub fn main(name: &str, run: fn(&[u8])) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => check(name, run),
        [flag, seconds] if flag == "--seconds" => match seconds.parse() {
            Ok(seconds) => mutate_for(name, run, Duration::from_secs(seconds)),
            Err(_) => eprintln!("not a number of seconds: {seconds}"),
        },
        paths => paths.iter().flat_map(|path| files(Path::new(path))).for_each(|(path, bytes)| guarded(&path, &bytes, run)),
    }
}

/// Runs every seed and a fixed set of mutations of it.
pub fn check(name: &str, run: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "seeds/{name} has no file");
    for (path, bytes) in &seeds {
        guarded(path, bytes, run);
        let mut random = Random(1);
        for _ in 0..MUTATIONS {
            guarded(path, &mutated(bytes, &mut random), run);
        }
    }
}

fn mutate_for(name: &str, run: fn(&[u8]), time: Duration) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "seeds/{name} has no file");
    let started = Instant::now();
    let start = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64 | 1);
    let mut random = Random(start);
    let mut runs = 0_u64;
    let mut slowest = Duration::ZERO;
    while started.elapsed() < time {
        let (path, bytes) = &seeds[random.below(seeds.len())];
        let input = mutated(bytes, &mut random);
        let began = Instant::now();
        guarded(path, &input, run);
        slowest = slowest.max(began.elapsed());
        runs += 1;
    }
    eprintln!("{name}: {runs} inputs, random start {start}, slowest {slowest:?}");
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name))
}

/// The file, or the files of the folder, by name.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
}

/// Runs one input; if it panics, tells which before the panic goes on.
fn guarded(path: &Path, bytes: &[u8], run: fn(&[u8])) {
    if let Err(panic) = std::panic::catch_unwind(|| run(bytes)) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("input made from {}: {hex}", path.display());
        std::panic::resume_unwind(panic);
    }
}

/// One to four small damages: a byte set, a bit flipped, a piece cut, repeated or moved, a length field made extreme.
fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        match (random.below(6), out.get_mut(at)) {
            (0, Some(byte)) => *byte = random.byte(),
            (1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2, Some(byte)) => *byte = [0, 0x3f, 0x7f, 0x80, 0xc0, 0xff][random.below(6)],
            (3, _) => out.truncate(at),
            (4, _) => out.insert(at, random.byte()),
            _ => {
                let until = at + random.below(out.len() - at + 1);
                let piece = out[at..until].to_vec();
                let to = random.below(out.len() + 1);
                out.splice(to..to, piece);
            }
        }
        out.truncate(MOST_BYTES);
    }
    out
}

/// xorshift64; the state is never 0.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }
}
