//! A lock in the versions of an object, for stores without conditional writes.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::{join_all, try_join};
use uuid::Uuid;

use crate::{
    bucket::{Condition, Put, S3Error, Version, Written},
    clock::Moment,
    error::{Error, Step},
    strategy::{Claimed, Place, Sight, sealed},
};

/// Looks at what changes meanwhile, until a call gives up.
const LOOKS: u32 = 8;

/// A lock in the versions of an object: the first version is the master and says who owns the lock, the
/// last one tells when it was touched. A claim wins when it stands alone.
///
/// It deletes by design, so that nothing remains to count on: **there is no fencing token**. The server
/// must delete one version without touching, or hiding for a moment, any other one.
#[derive(Debug)]
pub struct Versioned;

/// A tenure: our versions of the object, the first one first.
#[derive(Debug, Clone)]
pub struct Touches(Vec<Version>);

/// What the bucket says of a lock.
struct Seen {
    versions: Vec<Version>,
    master: Option<Entry>,
    last: Option<Entry>,
}

/// What stands with a version.
struct Entry {
    owner: Option<Uuid>,
    timeout: Option<Duration>,
}

impl sealed::Strategy for Versioned {
    type Tenure = Touches;

    async fn probe(place: &Place) -> Result<(), Error> {
        // What a write answers tells it; a bucket that keeps no versions is found out by the first claim.
        place
            .at(Step::Probe, place.bucket.versions(&place.key))
            .await?;
        Ok(())
    }

    /// The flow of five steps: look, judge, claim, look again, judge again.
    async fn claim(place: &Place, sight: &mut Sight) -> Result<Claimed<Touches>, Error> {
        let seen = look(place, Step::Look).await?;
        if seen.is_ours(place) {
            // Left by this instance itself.
            Self::remove(place).await?;
            let owner = place.owner.to_string();
            return Ok(Claimed::Held(place.held(&owner, Duration::ZERO)));
        }
        if let Some(held) = seen.blocks(place, sight) {
            return Ok(Claimed::Held(held));
        }
        // What is over.
        delete(place, Step::Claim, &seen.versions).await?;
        let sent = Moment::now();
        let ours = match touch(place, Step::Claim).await {
            Ok(ours) => ours,
            Err(err) => return Err(undo(place, err).await),
        };
        match confirm(place, &ours).await {
            Ok(None) => Ok(Claimed::Won(Touches(vec![ours]), sent)),
            Ok(Some(other)) => {
                // A loser leaves nothing behind.
                delete(place, Step::Claim, &[ours]).await?;
                Ok(Claimed::Held(place.held(&other, Duration::ZERO)))
            }
            Err(err) => Err(undo(place, err).await),
        }
    }

    async fn renew(place: &Place, tenure: Touches) -> Result<Option<Touches>, Error> {
        let Touches(mut ours) = tenure;
        let newest = touch(place, Step::Renew).await?;
        let seen = look(place, Step::Renew).await?;
        let is_there = |version: &Version| seen.versions.contains(version);
        let lives = ours.first().is_some_and(is_there) && is_there(&newest);
        if !lives {
            delete(place, Step::Renew, &[newest]).await?;
            return Ok(None);
        }
        // The first and the last say all; the touches between are litter.
        let between = ours.split_off(1);
        ours.push(newest);
        delete(place, Step::Renew, &between).await?;
        Ok(Some(Touches(ours)))
    }

    /// The flow of four steps, of which the count is the guards' own: look, see whose it is, count,
    /// delete what was seen of ours.
    async fn release(place: &Place, _: Touches) -> Result<bool, Error> {
        Self::remove(place).await
    }

    async fn remove(place: &Place) -> Result<bool, Error> {
        let seen = look(place, Step::Release).await?;
        let mut entries = Vec::new();
        for version in &seen.versions {
            entries.push(entry(place, Step::Release, Some(version)));
        }
        let mut ours = Vec::new();
        for (version, entry) in seen.versions.iter().zip(join_all(entries).await) {
            if entry?.is_some_and(|entry| entry.owner == Some(place.owner)) {
                ours.push(version.clone());
            }
        }
        // The first one last: while it is there, nobody takes the rest for a claim of its own.
        ours.reverse();
        let any = !ours.is_empty();
        delete(place, Step::Release, &ours).await?;
        Ok(any)
    }
}

impl Seen {
    fn is_ours(&self, place: &Place) -> bool {
        let entries = [&self.master, &self.last];
        entries.iter().all(|entry| {
            entry
                .as_ref()
                .is_some_and(|entry| entry.owner == Some(place.owner))
        })
    }

    /// Who keeps us from a claim; nobody if nothing is there, or nothing of it was touched for longer than
    /// it may live.
    fn blocks(&self, place: &Place, sight: &mut Sight) -> Option<crate::Held> {
        let master = self.master.as_ref()?;
        let last = self.last.as_ref()?;
        // What is not a claim of this library lives as long as one of our own.
        let life = [master, last]
            .into_iter()
            .filter_map(|entry| entry.timeout)
            .max();
        let ids: Vec<&str> = self.versions.iter().map(|one| &*one.id).collect();
        let left = sight.left(&ids.join(" "), life.unwrap_or(place.timeout));
        let owner = master.owner.map(|owner| owner.to_string());
        (!left.is_zero()).then(|| place.held(&owner.unwrap_or_default(), left))
    }
}

/// Looks until the claim `ours` stands alone, which makes it a tenure. `Some` names who was before it.
///
/// Whoever stands alone after its write was complete is alone for good: each later claim sees it. While two
/// are there, the first one waits and every other one goes.
async fn confirm(place: &Place, ours: &Version) -> Result<Option<String>, Error> {
    let mut other = String::new();
    for round in 1..=LOOKS {
        let seen = look(place, Step::Confirm).await?;
        let Some(first) = seen.versions.first() else {
            return Ok(Some(other));
        };
        let owner = seen.master.as_ref().and_then(|entry| entry.owner);
        let is_first = first == ours;
        if is_first && seen.versions.len() == 1 {
            return Ok(None);
        }
        if !is_first {
            return Ok(Some(
                owner.map(|owner| owner.to_string()).unwrap_or_default(),
            ));
        }
        other = "a claim that is being taken back".to_owned();
        let pause = Duration::from_millis(rand::random_range(5..20)) * round;
        tokio::time::sleep(pause).await;
    }
    Ok(Some(other))
}

/// Gets the state: the list of versions, and then the metadata of the first and of the last one at once.
/// One that was deleted meanwhile is a state as well: it is looked at again.
async fn look(place: &Place, step: Step) -> Result<Seen, Error> {
    for round in 0..LOOKS {
        tokio::time::sleep(Duration::from_millis(5) * round).await;
        let versions = place.at(step, place.bucket.versions(&place.key)).await?;
        let (master, last) = try_join(
            entry(place, step, versions.first()),
            entry(place, step, versions.last()),
        )
        .await?;
        if versions.is_empty() || (master.is_some() && last.is_some()) {
            return Ok(Seen {
                versions,
                master,
                last,
            });
        }
    }
    let source = S3Error::Unknown("it lists versions that it does not have".into());
    Err(Error::S3 { step, source })
}

/// What stands with a version; "not found" is a value.
async fn entry(
    place: &Place,
    step: Step,
    version: Option<&Version>,
) -> Result<Option<Entry>, Error> {
    let Some(version) = version else {
        return Ok(None);
    };
    let metadata = place.bucket.metadata(&place.key, &version.id);
    Ok(place
        .at(step, metadata)
        .await?
        .map(|found| Entry::of(&found)))
}

impl Entry {
    fn of(metadata: &BTreeMap<String, String>) -> Self {
        let timeout = metadata
            .get("timeout-ms")
            .and_then(|text| text.parse().ok());
        Self {
            owner: metadata.get("owner").and_then(|text| text.parse().ok()),
            timeout: timeout.map(Duration::from_millis),
        }
    }
}

/// Writes a version of our own.
async fn touch(place: &Place, step: Step) -> Result<Version, Error> {
    let put = Put {
        condition: Condition::None,
        metadata: vec![
            ("owner", place.owner.to_string()),
            ("timeout-ms", place.timeout.as_millis().to_string()),
        ],
        body: b"{}\n".to_vec(),
    };
    match place.at(step, place.bucket.put(&place.key, put)).await? {
        Written::As {
            version: Some(version),
            ..
        } if version != "null" => Ok(Version { id: version }),
        Written::As { .. } => Err(Error::Unfit("it keeps no versions".to_owned())),
        Written::Refused => Err(Error::S3 {
            step,
            source: S3Error::Unknown("another write came at the same moment".into()),
        }),
    }
}

async fn delete(place: &Place, step: Step, ids: &[Version]) -> Result<(), Error> {
    for Version { id } in ids {
        let deleted = place.bucket.delete_version(&place.key, id);
        place.at(step, deleted).await?;
    }
    Ok(())
}

/// Takes back a claim of which nobody knows whether it was written; what cannot be taken back is over after
/// its timeout.
async fn undo(place: &Place, err: Error) -> Error {
    if !matches!(err, Error::Unfit(_)) {
        let _ = <Versioned as sealed::Strategy>::remove(place).await;
    }
    err
}
