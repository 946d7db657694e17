//! Expressions for the kernel's filter as anybody may type them: a program ends, jumps stay within it; errors point into the text.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::bpf::{Program, Tags};

faultmap_fuzz::target!(|data| {
    let text = String::from_utf8_lossy(data);
    for tags in [Tags::InFrame, Tags::Kernel] {
        match Program::compile(&text, tags) {
            Ok(program) => {
                let code = program.instructions();
                assert!(code.last().is_some_and(|last| last.code == 0x06));
                for (at, i) in code.iter().enumerate() {
                    let furthest = match i.code {
                        0x05 => i.k as usize,
                        0x15 | 0x25 | 0x35 => usize::from(i.jt.max(i.jf)),
                        _ => 0,
                    };
                    assert!(at + 1 + furthest < code.len() || i.code == 0x06);
                }
            }
            Err(error) => assert!(error.column <= error.text.chars().count()),
        }
    }
});
