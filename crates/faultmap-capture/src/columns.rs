//! Flows as Parquet, one row a flow, written as they end: for engines that analyse what no one machine holds. Names and units of the columns are
//! those of docs/capture.md. No Arrow: plain columns are all that is needed.

use crate::analysis::FlowSink;
use crate::flow::FlowRecord;
use crate::flow::record::TcpSide;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of one row group: a few megabytes of memory.
const ROWS: usize = 16_384;

const SCHEMA: &str = "message flow {
    required int64 flow; required binary protocol (utf8);
    required binary client (utf8); required int32 client_port; required binary server (utf8); required int32 server_port;
    required int32 realm; optional binary app (utf8); optional binary server_name (utf8);
    required int64 first_packet; required int64 first_ns (TIMESTAMP(NANOS,true)); required double duration_ms;
    required int64 client_packets; required int64 server_packets; required int64 client_bytes; required int64 server_bytes;
    required binary state (utf8);
    optional double server_rtt_ms; optional double client_rtt_ms;
    required int32 client_retransmits; required int32 server_retransmits;
    required double client_zero_window_ms; required double server_zero_window_ms;
    required int64 exchanges; required int64 failing; optional double worst_wait_ms; optional double worst_think_ms;
    optional binary worst (utf8); optional binary rules (utf8); required boolean reset;
}";

/// A Parquet file under construction, shared with the engine that fills it.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<State>>);

struct State {
    file: Option<SerializedFileWriter<File>>,
    rows: Vec<FlowRecord>,
    failed: Option<ParquetError>,
}

impl Shared {
    /// Begins the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(file: File) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(file, Arc::new(parse_message_type(SCHEMA)?), Arc::new(properties))?;
        Ok(Self(Arc::new(Mutex::new(State { file: Some(writer), rows: Vec::new(), failed: None }))))
    }

    /// Takes flows from an engine.
    #[must_use]
    pub fn sink(&self) -> FlowSink {
        let shared = self.clone();
        Box::new(move |flow| shared.0.lock().unwrap_or_else(PoisonError::into_inner).add(flow))
    }

    /// Writes what is left, and the end.
    ///
    /// # Errors
    /// The file could not be written, now or before.
    pub fn finish(self) -> Result<(), ParquetError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.flush();
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        if let Some(writer) = state.file.take() {
            writer.into_inner()?.flush()?;
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, flow: &FlowRecord) {
        self.rows.push(flow.clone());
        if self.rows.len() >= ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let Some(writer) = self.file.as_mut().filter(|_| !rows.is_empty() && self.failed.is_none()) else { return };
        if let Err(error) = group(writer, &rows) {
            self.failed = Some(error);
        }
    }
}

/// One row group.
fn group<W: Write + Send>(writer: &mut SerializedFileWriter<W>, rows: &[FlowRecord]) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    let mut index = 0;
    while let Some(column) = group.next_column()? {
        fill(column, index, rows)?;
        index += 1;
    }
    group.close().map(drop)
}

/// The columns in the order of the schema.
#[allow(clippy::too_many_lines, reason = "one line a column, in the order of the schema")]
fn fill(column: SerializedColumnWriter<'_>, index: usize, rows: &[FlowRecord]) -> Result<(), ParquetError> {
    let side = |row: &FlowRecord, pick: fn(&TcpSide) -> f64, server: bool| {
        row.tcp.as_ref().map_or(0.0, |tcp| pick(if server { &tcp.sides.server } else { &tcp.sides.client }))
    };
    let again = |tcp: &TcpSide| f64::from(tcp.retransmits.total());
    match index {
        0 => long(column, rows, |row| row.id.0),
        1 => text(column, rows, |row| Some(format!("{:?}", row.protocol).to_lowercase()), true),
        2 => text(column, rows, |row| Some(row.client.ip().to_string()), true),
        3 => short(column, rows, |row| i32::from(row.client.port())),
        4 => text(column, rows, |row| Some(row.server.ip().to_string()), true),
        5 => short(column, rows, |row| i32::from(row.server.port())),
        6 => short(column, rows, |row| row.realm.cast_signed()),
        7 => text(column, rows, |row| row.app.map(str::to_owned), false),
        8 => text(column, rows, |row| row.server_name.clone(), false),
        9 => long(column, rows, |row| row.first_packet),
        10 => long(column, rows, |row| row.first.0.cast_unsigned()),
        11 => double(column, rows, |row| Some(row.duration_ms()), true),
        12 => long(column, rows, |row| row.packets.client),
        13 => long(column, rows, |row| row.packets.server),
        14 => long(column, rows, |row| row.bytes.client),
        15 => long(column, rows, |row| row.bytes.server),
        16 => text(column, rows, |row| Some(row.state.name().to_owned()), true),
        17 => double(column, rows, |row| row.tcp.as_ref().and_then(|tcp| tcp.handshake.server_rtt_ms), false),
        18 => double(column, rows, |row| row.tcp.as_ref().and_then(|tcp| tcp.handshake.client_rtt_ms), false),
        19 => short(column, rows, |row| side(row, again, false) as i32),
        20 => short(column, rows, |row| side(row, again, true) as i32),
        21 => double(column, rows, |row| Some(side(row, |tcp| tcp.zero_window_ms, false)), true),
        22 => double(column, rows, |row| Some(side(row, |tcp| tcp.zero_window_ms, true)), true),
        23 => long(column, rows, |row| row.exchanges.count),
        24 => long(column, rows, |row| row.exchanges.failing),
        25 => double(column, rows, |row| row.exchanges.worst_wait_ms, false),
        26 => double(column, rows, |row| row.exchanges.worst_think_ms, false),
        27 => text(column, rows, |row| row.worst().map(|weight| format!("{weight:?}").to_lowercase()), false),
        28 => text(column, rows, rules, false),
        _ => truth(column, rows, |row| row.tcp.as_ref().is_some_and(|tcp| tcp.reset.is_some())),
    }
}

fn rules(row: &FlowRecord) -> Option<String> {
    let rules: Vec<&str> = row.findings.iter().map(|found| found.rule).collect();
    (!rules.is_empty()).then(|| rules.join(","))
}

fn long(mut column: SerializedColumnWriter<'_>, rows: &[FlowRecord], value: impl Fn(&FlowRecord) -> u64) -> Result<(), ParquetError> {
    let values: Vec<i64> = rows.iter().map(|row| value(row).cast_signed()).collect();
    column.typed::<Int64Type>().write_batch(&values, None, None)?;
    column.close()
}

fn short(mut column: SerializedColumnWriter<'_>, rows: &[FlowRecord], value: impl Fn(&FlowRecord) -> i32) -> Result<(), ParquetError> {
    let values: Vec<i32> = rows.iter().map(value).collect();
    column.typed::<Int32Type>().write_batch(&values, None, None)?;
    column.close()
}

fn truth(mut column: SerializedColumnWriter<'_>, rows: &[FlowRecord], value: impl Fn(&FlowRecord) -> bool) -> Result<(), ParquetError> {
    let values: Vec<bool> = rows.iter().map(value).collect();
    column.typed::<BoolType>().write_batch(&values, None, None)?;
    column.close()
}

fn double(
    mut column: SerializedColumnWriter<'_>,
    rows: &[FlowRecord],
    value: impl Fn(&FlowRecord) -> Option<f64>,
    required: bool,
) -> Result<(), ParquetError> {
    let (values, levels) = split(rows, value);
    column.typed::<DoubleType>().write_batch(&values, (!required).then_some(levels.as_slice()), None)?;
    column.close()
}

fn text(
    mut column: SerializedColumnWriter<'_>,
    rows: &[FlowRecord],
    value: impl Fn(&FlowRecord) -> Option<String>,
    required: bool,
) -> Result<(), ParquetError> {
    let (values, levels) = split(rows, |row| value(row).map(|text| ByteArray::from(text.into_bytes())));
    column.typed::<ByteArrayType>().write_batch(&values, (!required).then_some(levels.as_slice()), None)?;
    column.close()
}

/// The values that are there, and for each row whether one is.
fn split<T>(rows: &[FlowRecord], value: impl Fn(&FlowRecord) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let all: Vec<Option<T>> = rows.iter().map(value).collect();
    let levels = all.iter().map(|value| i16::from(value.is_some())).collect();
    (all.into_iter().flatten().collect(), levels)
}
