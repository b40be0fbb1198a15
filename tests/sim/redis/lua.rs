//! The Lua of scripts. A thread has one state, which keeps each script compiled for all virtual Redis of the thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::{fmt, mem};

use mlua::chunk::ChunkMode;
use mlua::{Function, IntoLua, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::commands::Reply;
use super::resp::{Answer, decimal};
use super::{Conn, Redis, text};

/// The name of each script in the text of errors.
const CHUNK: &str = "@user_script";

const NO_ARGUMENT: &str = "ERR Please specify at least one argument for this redis lib call";
const BAD_ARGUMENT: &str = "ERR Lua redis lib command arguments must be strings or integers";

/// Sets up what scripts may use, and returns the function that runs one. It is called with the functions of this file.
const SETUP: &str = r#"
local call, pcall, traced, acl_check_cmd = ...
redis = {
  call = call,
  pcall = pcall,
  acl_check_cmd = acl_check_cmd,
  status_reply = function(text)
    return { ok = text }
  end,
  error_reply = function(text)
    text = string.gsub(text, '^%-', '')
    return { err = string.find(text, ' ', 1, true) and text or 'ERR ' .. text }
  end,
}
print, dofile, loadfile = nil, nil, nil
local _G, error, xpcall, rawset, setmetatable = _G, error, xpcall, rawset, setmetatable
setmetatable(_G, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
  __newindex = function()
    error('Attempt to modify a readonly table', 2)
  end,
})
return function(script, keys, args)
  rawset(_G, 'KEYS', keys)
  rawset(_G, 'ARGV', args)
  return xpcall(script, traced)
end
"#;

/// The Redis of a running script, and the client that has called it.
struct Running {
    redis: Redis,
    conn: Conn,
    now_millis: u64,
}

struct Interpreter {
    lua: Lua,
    run: Function,
    scripts: RefCell<HashMap<String, Function>>,
}

thread_local! {
    static INTERPRETER: Interpreter = Interpreter::new().expect("Lua starts");
    /// The Redis whose script is running.
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

impl Interpreter {
    fn new() -> mlua::Result<Interpreter> {
        let options = LuaOptions::new().catch_rust_panics(false);
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, options)?;
        let functions = (
            lua.create_function(call)?,
            lua.create_function(pcall)?,
            lua.create_function(traced)?,
            lua.create_function(acl_check_cmd)?,
        );
        let run = lua.load(SETUP).call(functions)?;
        Ok(Interpreter { lua, run, scripts: RefCell::default() })
    }

    fn compiled(&self, sha: &str, source: &[u8]) -> Result<Function, String> {
        if let Some(script) = self.scripts.borrow().get(sha) {
            return Ok(script.clone());
        }
        let chunk = self.lua.load(source).set_name(CHUNK).set_mode(ChunkMode::Text);
        let script = chunk.into_function().map_err(|error| {
            let error = match error {
                mlua::Error::SyntaxError { message, .. } => message,
                error => error.to_string(),
            };
            format!("ERR Error compiling script (new function): {error}")
        })?;
        self.scripts.borrow_mut().insert(sha.into(), script.clone());
        Ok(script)
    }

    fn run(&self, sha: &str, script: Function, keys: &[Vec<u8>], args: &[Vec<u8>]) -> mlua::Result<Reply> {
        let words = |words: &[Vec<u8>]| list(&self.lua, words.iter(), |word| self.lua.create_string(word));
        let (done, result): (bool, Value) = self.run.call((script, words(keys)?, words(args)?))?;
        if done {
            return Ok(Ok(answer(&result)?));
        }
        let Value::Table(error) = result else {
            return Ok(Err("ERR execution failure".into()));
        };
        let (message, line): (mlua::LuaString, Option<usize>) =
            (error.raw_get("err")?, error.raw_get("line")?);
        let place = line.map(|line| format!(" script: {sha}, on {CHUNK}:{line}."));
        Ok(Err(text(&message.as_bytes()) + &place.unwrap_or_default()))
    }
}

/// Compiles a script, or returns the error.
pub fn compile(sha: &str, source: &[u8]) -> Result<(), String> {
    INTERPRETER.with(|interpreter| interpreter.compiled(sha, source).map(drop))
}

/// Runs a script for a client at that time.
pub fn run(
    redis: &mut Redis,
    (conn, now_millis): (Conn, u64),
    (sha, source): (&str, &[u8]),
    keys: &[Vec<u8>],
    args: &[Vec<u8>],
) -> Reply {
    INTERPRETER.with(|interpreter| {
        let script = interpreter.compiled(sha, source)?;
        let running = Running { redis: mem::take(redis), conn, now_millis };
        RUNNING.set(Some(running));
        let reply = interpreter.run(sha, script, keys, args);
        *redis = RUNNING.take().expect("the script was running").redis;
        reply.unwrap_or_else(|error| Err(format!("ERR {error}")))
    })
}

/// The error of a command of a script.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

/// Executes a command of the running script.
fn execute(words: &MultiValue) -> Reply {
    let words: Vec<_> = words.iter().map(word).collect::<Option<_>>().ok_or(BAD_ARGUMENT)?;
    if words.is_empty() {
        return Err(NO_ARGUMENT.into());
    }
    RUNNING.with_borrow_mut(|running| {
        let Running { redis, conn, now_millis } = running.as_mut().expect("a script is running");
        redis.answer_script(*conn, &words, *now_millis)
    })
}

fn call(lua: &Lua, words: MultiValue) -> mlua::Result<Value> {
    let answer = execute(&words).map_err(|error| mlua::Error::external(Failure(error)))?;
    value(lua, answer)
}

fn pcall(lua: &Lua, words: MultiValue) -> mlua::Result<Value> {
    value(lua, execute(&words).unwrap_or_else(Answer::Error))
}

/// Whether the user may execute a command.
fn acl_check_cmd(_: &Lua, words: MultiValue) -> mlua::Result<bool> {
    let words: Vec<_> = words.iter().map(word).collect::<Option<_>>().expect("strings and integers");
    RUNNING.with_borrow(|running| Ok(running.as_ref().expect("a script is running").redis.may(&words)))
}

/// Makes an error the table with which a script ends, and notes the line of the script in it.
fn traced(lua: &Lua, error: Value) -> mlua::Result<Table> {
    let table = match error {
        Value::Table(table) => table,
        error => {
            let table = lua.create_table()?;
            table.raw_set("err", lua.create_string(error_text(lua, error)?)?)?;
            table
        }
    };
    let at = |level| {
        lua.inspect_stack(level, |frame| {
            frame.current_line().filter(|_| frame.source().source.as_deref() == Some(CHUNK))
        })
    };
    table.raw_set("line", (0..).map_while(at).find_map(|line| line))?;
    Ok(table)
}

fn error_text(lua: &Lua, error: Value) -> mlua::Result<Vec<u8>> {
    if let Value::Error(error) = &error
        && let Some(Failure(text)) = error.downcast_ref()
    {
        return Ok(text.clone().into());
    }
    let text = lua.coerce_string(error)?;
    Ok(text.map_or_else(|| "ERR".into(), |text| [b"ERR ", &text.as_bytes()[..]].concat()))
}

/// Converts an argument of a command as Redis does.
fn word(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(word) => Some(word.as_bytes().to_vec()),
        Value::Integer(number) => Some(decimal(*number as f64).into()),
        Value::Number(number) => Some(decimal(*number).into()),
        _ => None,
    }
}

/// Makes a table, with one value after the other: mlua cannot hold thousands at once.
fn list<T, V: IntoLua>(
    lua: &Lua,
    items: impl ExactSizeIterator<Item = T>,
    make: impl Fn(T) -> mlua::Result<V>,
) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(items.len(), 0)?;
    for item in items {
        table.raw_push(make(item)?)?;
    }
    Ok(table)
}

/// Converts an answer for a script.
fn value(lua: &Lua, answer: Answer) -> mlua::Result<Value> {
    let field = |name: &str, text: String| lua.create_table_from([(name, text)]).map(Value::Table);
    match answer {
        Answer::Status(text) => field("ok", text),
        Answer::Error(text) => field("err", text),
        Answer::Number(number) => Ok(Value::Number(number as f64)),
        Answer::Bulk(bytes) => lua.create_string(bytes).map(Value::String),
        Answer::Nothing | Answer::NoArray => Ok(Value::Boolean(false)),
        Answer::Array(answers) | Answer::Several(answers) => {
            list(lua, answers.into_iter(), |answer| value(lua, answer)).map(Value::Table)
        }
    }
}

/// Converts the result of a script.
fn answer(result: &Value) -> mlua::Result<Answer> {
    Ok(match result {
        Value::String(word) => Answer::bulk(&word.as_bytes()[..]),
        Value::Integer(number) => Answer::Number(*number),
        Value::Number(number) if !(-9.2e18..9.2e18).contains(number) => Answer::Number(i64::MIN),
        Value::Number(number) => Answer::Number(*number as i64),
        Value::Boolean(true) => Answer::Number(1),
        Value::Table(table) => {
            if let Value::String(error) = table.raw_get("err")? {
                return Ok(Answer::Error(text(&error.as_bytes())));
            }
            if let Value::String(status) = table.raw_get("ok")? {
                return Ok(Answer::Status(text(&status.as_bytes())));
            }
            let values = table.sequence_values::<Value>();
            Answer::Array(values.map(|value| answer(&value?)).collect::<mlua::Result<_>>()?)
        }
        _ => Answer::Nothing,
    })
}
