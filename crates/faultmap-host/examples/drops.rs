//! scratch
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use faultmap_host::drops::*;
use faultmap_model::host::drops::*;
fn main() {
    let secs: f64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(3.0);
    let scope = match std::env::args().nth(2).as_deref() {
        Some("all") => Scope::All,
        _ => Scope::OwnNamespace,
    };
    let began = std::time::Instant::now();
    match DropWatch::start(scope) {
        Err(error) => println!("{:?}", Drops::from(error)),
        Ok(watch) => {
            println!("start {:?}", began.elapsed());
            std::thread::sleep(std::time::Duration::from_secs_f64(secs));
            let began = std::time::Instant::now();
            let sample = watch.read().unwrap();
            println!("read {:?} flows {}", began.elapsed(), sample.flows.len());
            let began = std::time::Instant::now();
            let mut report = DropReport::new(None, &sample);
            println!("report {:?}", began.elapsed());
            let began = std::time::Instant::now();
            name_processes(&mut report);
            println!("proc {:?}", began.elapsed());
            println!("elsewhere {} unattributed {} lost {}", report.elsewhere, report.unattributed, report.lost);
            for r in &report.rows {
                println!(
                    "{:?} {} {:?} n={} {:.1}/s at {:?} ns {:?} cause {:?}: {}",
                    r.layer, r.reason, r.weight, r.count, r.per_second, r.location, r.namespace, r.cause, r.meaning
                );
                for f in &r.flows {
                    println!("      {} {} -> {} n={} sock={:?} {:?}", f.protocol, f.source, f.destination, f.count, f.socket, f.process);
                }
            }
            for w in report.warnings() {
                println!("WARN {}", w.summary);
            }
        }
    }
}
