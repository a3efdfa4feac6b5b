//! A scenario written as words, so that a question can be asked without a new name:
//! `modes=XSS sessions unknown=1 mistake=NoTombstone`.

use crate::{
    mistake::Mistake,
    scenario::{LOCKS, Mode, REQUESTS, Request, Scenario},
};

/// Reads a scenario. `modes` has a letter for each request (`X` exclusive, `S` shared, `1`, `2` or
/// `3` a permit of that weight under `limit`, `x` a permit of weight 1 under the limit 1), `clients`
/// and `locks` a digit for each.
///
/// # Errors
///
/// Says which word it does not understand.
pub fn parse(words: &str) -> Result<Scenario, String> {
    let mut scenario = Scenario::new(words, &[]);
    let mut modes = "";
    let mut limit = 2;
    let mut digits = Vec::new();
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, "1"));
        let number = || {
            value
                .parse::<usize>()
                .map_err(|_| format!("{word}: a number is wanted"))
        };
        let few = || number().map(|number| number as u8);
        match key {
            "limit" => limit = few()?,
            "modes" => modes = value,
            "clients" | "locks" => digits.push((key, value)),
            "sessions" => scenario.sessions = number()? > 0,
            "concurrent" => scenario.concurrent = number()? > 0,
            "plain" => scenario.plain_client = number()? > 0,
            "delay" => scenario.delay = number()? > 0,
            "ahead" => scenario.ahead = number()? > 0,
            "batches" => scenario.batches = number()? > 0,
            "replicas" => scenario.replicas = number()?.clamp(1, 2),
            "lag" => scenario.lag = number()?.min(2),
            "run" => scenario.run = number()?,
            "bound" => scenario.bound = number()?,
            "unknown" => scenario.faults.unknown = few()?,
            "breaks" => scenario.faults.breaks = few()?,
            "repeats" => scenario.faults.repeats = few()?,
            "timeouts" => scenario.faults.timeouts = few()?,
            "duplicates" => scenario.faults.duplicates = few()?,
            "expiries" => scenario.faults.expiries = few()?,
            "lapses" => scenario.faults.lapses = few()?,
            "forgets" => scenario.faults.forgets = few()?,
            "forced" => scenario.faults.forced = few()?,
            "crashes" => scenario.faults.crashes = few()?,
            "mistake" => scenario.mistake = Some(mistake(value)?),
            _ => return Err(format!("{word}: no such word")),
        }
    }
    scenario.requests = requests(modes, limit)?;
    for (what, value) in digits {
        for (request, digit) in scenario.requests.iter_mut().zip(value.bytes()) {
            let digit = usize::from(digit.wrapping_sub(b'0'));
            match what {
                "clients" => request.client = digit.min(REQUESTS - 1),
                _ => request.lock = digit.min(LOCKS - 1),
            }
        }
    }
    Ok(scenario)
}

fn requests(letters: &str, limit: u8) -> Result<Vec<Request>, String> {
    let mode = |letter| match letter {
        'X' => Some(Mode::Exclusive),
        'S' => Some(Mode::Shared),
        'x' => Some(Mode::Permit {
            limit: 1,
            weight: 1,
        }),
        '1'..='3' => Some(Mode::Permit {
            limit,
            weight: letter as u8 - b'0',
        }),
        _ => None,
    };
    let modes: Option<Vec<Mode>> = letters.chars().map(mode).collect();
    modes
        .filter(|modes| (1..=REQUESTS).contains(&modes.len()))
        .map(|modes| Scenario::new("", &modes).requests)
        .ok_or(format!(
            "modes={letters}: one to four of the letters X, S, x, 1, 2, 3"
        ))
}

fn mistake(name: &str) -> Result<Mistake, String> {
    let named = |mistake: &&Mistake| format!("{mistake:?}") == name;
    Mistake::ALL
        .iter()
        .find(named)
        .copied()
        .ok_or(format!("no such mistake; there are {:?}", Mistake::ALL))
}
