//! One object that is written under conditions, and never deleted.

use crate::{
    bucket::{Condition, S3Error, Written},
    clock::Moment,
    error::{Error, Step},
    master::{Master, State},
    strategy::{Claimed, Place, Sight, sealed},
};

/// The object that servers are tried with.
const PROBE: &str = "~s3-lock-probe";

/// Writes that somebody else came before, until a call gives up.
const TRIES: u32 = 5;

/// A lock in one object, moved by conditional writes (`If-None-Match: *`, `If-Match`). It is never
/// deleted, so that its fencing token grows for ever.
#[derive(Debug)]
pub struct Conditional;

/// A tenure: the ETag that says it lives, and its token.
#[derive(Debug, Clone)]
pub struct Tenure {
    tag: String,
    pub(crate) fencing_token: u64,
}

/// What became of a writing.
enum Wrote {
    As(String),
    Refused,
    /// It may have been written, or may yet be.
    Unknown(Error),
}

/// What a look found: the ETag and the object.
type Seen = Option<(String, Master)>;

impl sealed::Strategy for Conditional {
    type Tenure = Tenure;

    async fn probe(place: &Place) -> Result<(), Error> {
        let tried = place.at(Step::Probe, place.bucket.keeps_conditions(PROBE));
        tried.await.map_err(|err| match err {
            Error::S3 {
                source: S3Error::Refused(why),
                ..
            } => Error::Unfit(why),
            other => other,
        })
    }

    async fn claim(place: &Place, sight: &mut Sight) -> Result<Claimed<Tenure>, Error> {
        let (condition, last_token) = match look(place, Step::Look).await? {
            None => (Condition::Absent, 0),
            Some((tag, master)) => {
                if master.state == State::Held && master.owner != place.owner {
                    let left = sight.left(&tag, master.timeout());
                    if !left.is_zero() {
                        let owner = master.owner.to_string();
                        return Ok(Claimed::Held(place.held(&owner, left)));
                    }
                }
                (Condition::Is(tag), master.fencing_token)
            }
        };
        let claim = Master::new(place, State::Held, last_token + 1);
        let sent = Moment::now();
        let tag = match write(place, Step::Claim, &claim, condition).await? {
            Wrote::As(tag) => Some(tag),
            Wrote::Refused => None,
            Wrote::Unknown(_) => None,
        };
        if let Some(tag) = tag {
            return Ok(Claimed::Won(claim.tenure(tag), sent));
        }
        // An answer that says no, or none: what is there now decides.
        match look(place, Step::Confirm).await? {
            Some((tag, now)) if now == claim => Ok(Claimed::Won(claim.tenure(tag), sent)),
            Some((tag, now)) => {
                let left = sight.left(&tag, now.timeout());
                Ok(Claimed::Held(place.held(&now.owner.to_string(), left)))
            }
            None => Ok(Claimed::Held(place.held("", place.timeout))),
        }
    }

    async fn renew(place: &Place, tenure: Tenure) -> Result<Option<Tenure>, Error> {
        let next = Master::new(place, State::Held, tenure.fencing_token);
        let changed = change(place, Step::Renew, tenure, next).await?;
        Ok(changed)
    }

    async fn release(place: &Place, tenure: Tenure) -> Result<bool, Error> {
        let next = Master::new(place, State::Free, tenure.fencing_token);
        let changed = change(place, Step::Release, tenure, next).await?;
        Ok(changed.is_some())
    }

    async fn remove(place: &Place) -> Result<bool, Error> {
        match look(place, Step::Look).await? {
            Some((tag, master)) if master.is_held_by(place.owner) => {
                let tenure = master.tenure(tag);
                Self::release(place, tenure).await
            }
            _ => Ok(false),
        }
    }
}

impl Master {
    fn tenure(&self, tag: String) -> Tenure {
        Tenure {
            tag,
            fencing_token: self.fencing_token,
        }
    }
}

/// Writes `next` over a tenure of ours; `None` when the tenure is over. Whatever was written without our
/// knowing, an earlier try or a renewal that nobody waited for, is recognised by owner and token.
async fn change(
    place: &Place,
    step: Step,
    mut tenure: Tenure,
    next: Master,
) -> Result<Option<Tenure>, Error> {
    let mut unknown = None;
    for _ in 0..TRIES {
        let condition = Condition::Is(tenure.tag.clone());
        match write(place, step, &next, condition).await? {
            Wrote::As(tag) => return Ok(Some(next.tenure(tag))),
            Wrote::Refused => {}
            Wrote::Unknown(err) => unknown = Some(err),
        }
        match look(place, step).await? {
            Some((tag, now)) if now == next => return Ok(Some(next.tenure(tag))),
            Some((tag, now))
                if now.is_held_by(place.owner) && now.fencing_token == tenure.fencing_token =>
            {
                tenure.tag = tag;
            }
            _ => return Ok(None),
        }
    }
    let busy = || Error::S3 {
        step,
        source: S3Error::Unknown("other writes always came first".into()),
    };
    Err(unknown.unwrap_or_else(busy))
}

async fn look(place: &Place, step: Step) -> Result<Seen, Error> {
    let Some(found) = place.at(step, place.bucket.get(&place.key)).await? else {
        return Ok(None);
    };
    Ok(Some((found.tag, Master::parse(&place.key, &found.body)?)))
}

async fn write(
    place: &Place,
    step: Step,
    master: &Master,
    condition: Condition,
) -> Result<Wrote, Error> {
    let put = master.to_put(condition)?;
    match place.at(step, place.bucket.put(&place.key, put)).await {
        Ok(Written::As { tag, .. }) => Ok(Wrote::As(tag)),
        Ok(Written::Refused) => Ok(Wrote::Refused),
        Err(
            err @ Error::S3 {
                source: S3Error::Unknown(_),
                ..
            },
        ) => Ok(Wrote::Unknown(err)),
        Err(err) => Err(err),
    }
}
