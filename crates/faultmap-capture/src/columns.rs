//! Flows as Parquet, one row a flow, written as they end: for engines that analyse what no one machine holds. Names and units of the columns are
//! those of docs/capture.md. No Arrow: plain columns are all that is needed.

use crate::analysis::FlowSink;
use crate::flow::FlowRecord;
use crate::flow::record::{PerSide, TcpSide};
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of one row group: a few megabytes of memory.
const ROWS: usize = 16_384;

/// The type of a column, and how its values are read off a flow.
enum Column {
    Int64(fn(&FlowRecord) -> i64),
    /// A moment, nanoseconds since the epoch.
    Nanoseconds(fn(&FlowRecord) -> i64),
    Int32(fn(&FlowRecord) -> i32),
    Double(fn(&FlowRecord) -> f64),
    MaybeDouble(fn(&FlowRecord) -> Option<f64>),
    Text(fn(&FlowRecord) -> String),
    MaybeText(fn(&FlowRecord) -> Option<String>),
    Boolean(fn(&FlowRecord) -> bool),
}

/// All columns in the order of the file.
const COLUMNS: &[(&str, Column)] = &[
    ("flow", Column::Int64(|row| row.id.0.cast_signed())),
    ("protocol", Column::Text(|row| row.protocol.to_string())),
    ("client", Column::Text(|row| row.client.ip().to_string())),
    ("client_port", Column::Int32(|row| row.client.port().into())),
    ("server", Column::Text(|row| row.server.ip().to_string())),
    ("server_port", Column::Int32(|row| row.server.port().into())),
    ("realm", Column::Int32(|row| row.realm.cast_signed())),
    ("app", Column::MaybeText(|row| row.app.map(str::to_owned))),
    ("server_name", Column::MaybeText(|row| row.server_name.clone())),
    ("first_packet", Column::Int64(|row| row.first_packet.cast_signed())),
    ("first_ns", Column::Nanoseconds(|row| row.first.0)),
    ("duration_ms", Column::Double(FlowRecord::duration_ms)),
    ("client_packets", Column::Int64(|row| row.packets.client.cast_signed())),
    ("server_packets", Column::Int64(|row| row.packets.server.cast_signed())),
    ("client_bytes", Column::Int64(|row| row.bytes.client.cast_signed())),
    ("server_bytes", Column::Int64(|row| row.bytes.server.cast_signed())),
    ("state", Column::Text(|row| row.state.name().to_owned())),
    ("server_rtt_ms", Column::MaybeDouble(|row| row.tcp?.handshake.server_rtt_ms)),
    ("client_rtt_ms", Column::MaybeDouble(|row| row.tcp?.handshake.client_rtt_ms)),
    ("client_retransmits", Column::Int32(|row| sides(row).client.retransmits.total().cast_signed())),
    ("server_retransmits", Column::Int32(|row| sides(row).server.retransmits.total().cast_signed())),
    ("client_zero_window_ms", Column::Double(|row| sides(row).client.zero_window_ms)),
    ("server_zero_window_ms", Column::Double(|row| sides(row).server.zero_window_ms)),
    ("exchanges", Column::Int64(|row| row.exchanges.count.cast_signed())),
    ("failing", Column::Int64(|row| row.exchanges.failing.cast_signed())),
    ("worst_wait_ms", Column::MaybeDouble(|row| row.exchanges.worst_wait_ms)),
    ("worst_think_ms", Column::MaybeDouble(|row| row.exchanges.worst_think_ms)),
    ("worst", Column::MaybeText(|row| row.worst().map(|weight| weight.name().to_owned()))),
    ("rules", Column::MaybeText(rules)),
    ("reset", Column::Boolean(|row| row.tcp.is_some_and(|tcp| tcp.reset.is_some()))),
];

/// What each side of a TCP connection did; nothing, where the flow is none.
fn sides(row: &FlowRecord) -> PerSide<TcpSide> {
    row.tcp.map(|tcp| tcp.sides).unwrap_or_default()
}

fn rules(row: &FlowRecord) -> Option<String> {
    let rules: Vec<&str> = row.findings.iter().map(|found| found.rule).collect();
    (!rules.is_empty()).then(|| rules.join(","))
}

/// The columns in the words in which Parquet describes a file.
fn schema() -> String {
    let describe = |(name, column): &(&str, Column)| match column {
        Column::Int64(_) => format!("required int64 {name};"),
        Column::Nanoseconds(_) => format!("required int64 {name} (TIMESTAMP(NANOS,true));"),
        Column::Int32(_) => format!("required int32 {name};"),
        Column::Double(_) => format!("required double {name};"),
        Column::MaybeDouble(_) => format!("optional double {name};"),
        Column::Text(_) => format!("required binary {name} (utf8);"),
        Column::MaybeText(_) => format!("optional binary {name} (utf8);"),
        Column::Boolean(_) => format!("required boolean {name};"),
    };
    format!("message flow {{ {} }}", COLUMNS.iter().map(describe).collect::<Vec<_>>().join(" "))
}

/// A Parquet file under construction, shared with the engine that fills it.
#[derive(Clone)]
pub struct ParquetWriter(Arc<Mutex<State>>);

struct State {
    file: Option<SerializedFileWriter<File>>,
    rows: Vec<FlowRecord>,
    failed: Option<ParquetError>,
}

impl ParquetWriter {
    /// Begins the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(file: File) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(file, Arc::new(parse_message_type(&schema())?), Arc::new(properties))?;
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
    pub fn finish(self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.flush();
        if let Some(error) = state.failed.take() {
            return Err(plain(error));
        }
        // Here and not on the way to the file within: there Parquet hides what the system says.
        state.file.take().map_or(Ok(()), |mut writer| writer.finish().map(drop).map_err(plain))
    }
}

/// What the system said, without what Parquet calls it.
fn plain(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => source.downcast::<io::Error>().map_or_else(io::Error::other, |error| *error),
        error => io::Error::other(error),
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
    for (_, column) in COLUMNS {
        let Some(writer) = group.next_column()? else { break };
        column.write(rows, writer)?;
    }
    group.close().map(drop)
}

impl Column {
    fn write(&self, rows: &[FlowRecord], writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        match self {
            Self::Int64(value) | Self::Nanoseconds(value) => required::<Int64Type>(writer, rows.iter().map(value)),
            Self::Int32(value) => required::<Int32Type>(writer, rows.iter().map(value)),
            Self::Double(value) => required::<DoubleType>(writer, rows.iter().map(value)),
            Self::MaybeDouble(value) => optional::<DoubleType>(writer, rows.iter().map(value)),
            Self::Text(value) => required::<ByteArrayType>(writer, rows.iter().map(|row| value(row).into_bytes().into())),
            Self::MaybeText(value) => {
                optional::<ByteArrayType>(writer, rows.iter().map(|row| value(row).map(|text| text.into_bytes().into())))
            }
            Self::Boolean(value) => required::<BoolType>(writer, rows.iter().map(value)),
        }
    }
}

fn required<T: DataType>(mut column: SerializedColumnWriter<'_>, values: impl Iterator<Item = T::T>) -> Result<(), ParquetError> {
    let values: Vec<T::T> = values.collect();
    column.typed::<T>().write_batch(&values, None, None)?;
    column.close()
}

/// The values that are there, and for each row whether one is.
fn optional<T: DataType>(mut column: SerializedColumnWriter<'_>, values: impl Iterator<Item = Option<T::T>>) -> Result<(), ParquetError> {
    let all: Vec<Option<T::T>> = values.collect();
    let levels: Vec<i16> = all.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = all.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}
