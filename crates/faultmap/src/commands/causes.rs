//! `faultmap causes`: everything that can be named.

use crate::cli::CausesArgs;
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use faultmap_model::causes::{self, Cause, Tool};
use serde_json::{Value, json};

/// Schema name of the JSON object.
const SCHEMA: &str = "faultmap.causes/1";

pub(super) fn run(args: &CausesArgs, choice: Choice) -> anyhow::Result<i32> {
    if args.json {
        let all: Vec<Value> = causes::all().filter(|cause| args.layer.is_none_or(|layer| cause.layer == layer)).map(object).collect();
        let text = json!({ "schema": SCHEMA, "causes": all }).to_string();
        terminal::print_bytes(format!("{text}\n").as_bytes())?;
    } else {
        terminal::print(&render::causes(args.layer, Terminal::of_environment()), choice)?;
    }
    Ok(0)
}

fn object(cause: &Cause) -> Value {
    let tool = |tool: &Tool| json!({ "run": tool.run, "on": tool.on, "why": tool.why });
    json!({
        "layer": cause.layer,
        "cause": cause.id,
        "title": cause.title,
        "what": cause.what,
        "shows": cause.shows,
        "confirm": cause.confirm.iter().map(tool).collect::<Vec<_>>(),
        "fix": cause.fix,
    })
}
