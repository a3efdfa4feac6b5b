//! Where the shards are, as the settings say it.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// A shard: `name*weight=postgres://primary,postgres://replica`.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// What its share of the digests is drawn by: renaming a shard moves its messages.
    pub name: String,
    /// Its share, beside those of the others.
    pub weight: f64,
    /// Where it is written.
    pub primary: PgConnectOptions,
    /// Where it may be read, too.
    pub replicas: Vec<PgConnectOptions>,
}

/// Reads shards with `;` between them. A single one needs neither name nor weight.
///
/// # Errors
///
/// What is wrong, without the password that may stand in it.
pub fn shards(text: &str) -> Result<Vec<ShardOptions>, String> {
    let all = text
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let shards = all.map(shard).collect::<Result<Vec<_>, _>>()?;
    if shards.is_empty() {
        return Err("there is no shard".to_owned());
    }
    for (place, shard) in shards.iter().enumerate() {
        if shards[..place].iter().any(|other| other.name == shard.name) {
            return Err(format!("two shards are called `{}`", shard.name));
        }
    }
    Ok(shards)
}

fn shard(text: &str) -> Result<ShardOptions, String> {
    let (head, servers) = if is_address(text) {
        ("main", text)
    } else {
        text.split_once('=')
            .ok_or("a shard has no `=` behind its name")?
    };
    let (name, weight) = head.split_once('*').unwrap_or((head, "1"));
    let name = name.trim();
    // It stands in headers and in metrics.
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_legal) {
        // An address without a name may be what stands here.
        return Err("the name of a shard is not of A-Z, a-z, 0-9, `-`, `_` and `.`".to_owned());
    }
    let weight: f64 = weight
        .parse()
        .ok()
        .filter(|weight| *weight > 0.0 && f64::is_finite(*weight))
        .ok_or(format!("the weight of shard `{name}` is no number above 0"))?;
    let mut servers = servers.split(',').map(|url| {
        // sqlx's own message may hold the address with its password.
        let options = PgConnectOptions::from_str(url.trim()).ok();
        options.filter(|_| is_address(url.trim())).ok_or(format!(
            "an address of shard `{name}` is not `postgres://user@host/database`"
        ))
    });
    Ok(ShardOptions {
        name: name.to_owned(),
        weight,
        primary: servers.next().ok_or("a shard has no address")??,
        replicas: servers.collect::<Result<_, _>>()?,
    })
}

fn is_address(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_with_their_weights_and_replicas() {
        let text = "a=postgres://u:p@h1/d,postgres://h2/d; b*2.5=postgresql://h3:1/d;";
        let shards = shards(text).unwrap();
        let told: Vec<_> = shards
            .iter()
            .map(|it| (it.name.as_str(), it.weight, it.replicas.len()))
            .collect();
        assert_eq!(told, [("a", 1.0, 1), ("b", 2.5, 0)]);
        let one = super::shards("postgres://u@h/d").unwrap();
        assert_eq!(one[0].name, "main");
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, told) in [
            ("", "no shard"),
            ("a", "no `=`"),
            ("=postgres://h/d", "name of a shard"),
            ("a,b=postgres://h/d", "name of a shard"),
            ("http://u:secret@h/d?a=b", "name of a shard"),
            ("a*0=postgres://h/d", "weight of shard `a`"),
            ("a*x=postgres://h/d", "weight of shard `a`"),
            ("a=http://u:secret@h/d", "address of shard `a`"),
            ("a=postgres://u:secret@h:port/d", "address of shard `a`"),
            (
                "a=postgres://h/d;a=postgres://h/d",
                "two shards are called `a`",
            ),
        ] {
            let refused = shards(text).unwrap_err();
            assert!(refused.contains(told), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
