//! What another reader of Parquet finds in the flows of a capture: the columns that the documentation names, and in each row what the analysis knows of a flow.

use crate::common;
use faultmap_capture::analysis::{Analysis, Limits, Outcome};
use faultmap_capture::columns::ParquetWriter;
use faultmap_capture::file::Files;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use std::fs::File;

/// A recording of the lab, and the rows that are written of it.
fn rows(recording: &str) -> (Outcome, Vec<Row>) {
    let path = std::env::temp_dir().join(format!("faultmap-columns-{}-{recording}", std::process::id()));
    let columns = ParquetWriter::begin(File::create(&path).expect("a file")).expect("a schema");
    let (mut files, mut analysis) = (Files::new(&[common::lab().join(recording)]), Analysis::new(Limits::default()));
    analysis.set_flow_sink(columns.sink());
    while let Ok(Some(packet)) = files.next() {
        analysis.packet(&packet);
    }
    let outcome = analysis.finish();
    columns.finish().expect("written");
    let reader = SerializedFileReader::new(File::open(&path).expect("the file")).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows").collect::<Result<_, _>>().expect("whole rows");
    let _ = std::fs::remove_file(path);
    (outcome, rows)
}

fn value<'a>(row: &'a Row, column: &str) -> &'a Field {
    row.get_column_iter().find(|(name, _)| *name == column).map(|(_, field)| field).expect(column)
}

#[test]
fn each_flow_is_a_row_with_what_is_known_of_it() {
    let (outcome, rows) = rows("http-503.faulty.pcapng.gz");
    assert_eq!(rows.len(), outcome.flows.len());
    let http = outcome.flows.iter().find(|flow| flow.app == Some("http")).expect("a flow that speaks HTTP");
    let row = rows.iter().find(|row| *value(row, "flow") == Field::Long(http.id.0.cast_signed())).expect("its row");
    let text = |text: &str| Field::Str(text.to_owned());
    for (column, expect) in [
        ("protocol", text("tcp")),
        ("client", text(&http.client.ip().to_string())),
        ("server_port", Field::Int(http.server.port().into())),
        ("app", text("http")),
        ("first_ns", Field::Long(http.first.0)),
        ("server_bytes", Field::Long(http.bytes.server.cast_signed())),
        ("state", text(http.state.name())),
        ("server_rtt_ms", http.tcp.and_then(|tcp| tcp.handshake.server_rtt_ms).map_or(Field::Null, Field::Double)),
        ("worst", text("fault")),
        ("rules", text("http.status")),
        ("reset", Field::Bool(false)),
    ] {
        assert_eq!(*value(row, column), expect, "{column}");
    }
}

#[test]
fn the_documentation_names_every_column() {
    let (_, rows) = rows("udp-port-closed.faulty.pcapng.gz");
    let page = include_str!("../../../../docs/capture.md");
    let (_, table) = page.split_once("## Flows as columns").expect("the chapter");
    let documented = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next()).flat_map(|names| names.split("`, `"));
    let mut documented: Vec<&str> = documented.map(|name| name.trim_end_matches('`')).collect();
    let mut written: Vec<&str> = rows.iter().take(1).flat_map(|row| row.get_column_iter().map(|(name, _)| name.as_str())).collect();
    documented.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, documented);
}
