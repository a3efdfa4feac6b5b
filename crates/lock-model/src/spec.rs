//! A scenario written as words, so that a question can be asked without a new name:
//! `modes=XSS sessions unknown=1 mistake=NoTombstone`.

use crate::{
    mistake::Mistake,
    scenario::{Mode, REQUESTS, Request, Scenario},
};

/// Reads a scenario. `modes` has a letter for each request (`X` exclusive, `S` shared, `1`, `2` or
/// `3` a permit of that weight under `limit`, `x` a permit of weight 1 under the limit 1), `clients`
/// and `locks` a digit for each.
///
/// # Errors
///
/// Says which word it does not understand.
pub fn parse(words: &[String]) -> Result<Scenario, String> {
    let mut scenario = Scenario::new(&words.join(" "), &[]);
    let mut limit = 2;
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, "1"));
        let number = || value.parse::<usize>().map_err(|_| format!("{word}: a number is wanted"));
        let few = || number().map(|number| number as u8);
        match key {
            "limit" => limit = few()?,
            "modes" => scenario.requests = requests(value, limit).ok_or(format!("{word}: letters X, S, x, 1, 2, 3, at most four"))?,
            "clients" => digits(value, &mut scenario.requests, |request, digit| request.client = digit),
            "locks" => digits(value, &mut scenario.requests, |request, digit| request.lock = digit.min(1)),
            "sessions" => scenario.sessions = number()? > 0,
            "concurrent" => scenario.concurrent = number()? > 0,
            "plain" => scenario.plain_client = number()? > 0,
            "delay" => scenario.delay = number()? > 0,
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
    Ok(scenario)
}

fn requests(letters: &str, limit: u8) -> Option<Vec<Request>> {
    let mode = |letter| match letter {
        'X' => Some(Mode::Exclusive),
        'S' => Some(Mode::Shared),
        'x' => Some(Mode::Permit { limit: 1, weight: 1 }),
        '1'..='3' => Some(Mode::Permit { limit, weight: letter as u8 - b'0' }),
        _ => None,
    };
    let modes: Option<Vec<Mode>> = letters.chars().map(mode).collect();
    let modes = modes.filter(|modes| (1..=REQUESTS).contains(&modes.len()))?;
    Some(Scenario::new("", &modes).requests)
}

fn digits(value: &str, requests: &mut [Request], set: impl Fn(&mut Request, usize)) {
    for (request, digit) in requests.iter_mut().zip(value.bytes()) {
        set(request, usize::from(digit.wrapping_sub(b'0')).min(REQUESTS - 1));
    }
}

fn mistake(name: &str) -> Result<Mistake, String> {
    let named = |mistake: &&Mistake| format!("{mistake:?}") == name;
    Mistake::ALL.iter().find(named).copied().ok_or(format!("no such mistake; there are {:?}", Mistake::ALL))
}
