//! `session`: one lease that carries many locks.

use lock_client::{Error, SessionOptions};
use serde_json::json;

use crate::cli::{Connection, Output, Session, SessionCommand};
use crate::connect;
use crate::exit::{Failure, LOST};
use crate::hold::millis;
use crate::output::{self, human};

pub(crate) async fn session(connection: &Connection, session: &Session) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    match &session.command {
        SessionCommand::Open { ttl } => {
            let options = SessionOptions {
                ttl: *ttl,
                ..SessionOptions::default()
            };
            let opened = client.open_session(options).await?;
            let left = opened.remaining();
            let id = opened.hand_off();
            match connection.output {
                Output::Json => {
                    output::json(&json!({ "session_id": id, "remaining_ms": millis(left) }))?;
                }
                Output::Env => output::exports(&[("LOCK_SESSION_ID", id)])?,
                Output::Table => {
                    let row = [id, human(Some(left))];
                    output::table(["SESSION", "VALID FOR"], &[row])?;
                }
            }
        }
        SessionCommand::Keepalive { id } => {
            let adopted = client.adopt_session(id, SessionOptions::default()).await;
            let adopted = adopted.map_err(|error| match error {
                Error::Lost { key } => Failure::new(LOST, format!("session `{key}` is over")),
                error => error.into(),
            })?;
            let left = adopted.remaining();
            adopted.hand_off();
            match connection.output {
                Output::Json => {
                    output::json(&json!({ "session_id": id, "remaining_ms": millis(left) }))?;
                }
                _ => output::line(&format!("valid for {}", human(Some(left))))?,
            }
        }
        SessionCommand::End { id } => {
            let ended = client.end_session(id).await?;
            match connection.output {
                Output::Json => output::json(&json!({ "session_id": id, "ended": ended }))?,
                _ if ended => output::line("ended")?,
                _ => output::line("it was over already")?,
            }
        }
    }
    Ok(0)
}
