//! Which prefixes have hostnames in common, were every text allowed as a part; and that the rules of the
//! parts leave none, beside those whose letters are the same and only cut elsewhere.
//!
//! With stem S, counter C and environment E a name is S.C.E. Two different pairs of stem and environment
//! share a name if and only if one of [`Kind`] tells why: found by trying all short ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::{Application, Counter, Environment, Prefix, Role, Shape};
use crate::policy::Policy;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The environments are equal, and one stem is the other one plus digits: `ab`+12, `ab1`+2.
    StemGoesOn,
    /// One environment is digits plus the other one: `a`+1+`2x`, `a`+12+`x`.
    EnvironmentBeginsWithDigits,
    /// One environment holds a whole counter of the other prefix: `aa`+1+`a1a1`, `aa1a`+1+`a1`.
    EnvironmentHoldsACounter,
}

type Pair<'a> = (&'a str, &'a str);

/// Why two prefixes have names in common.
fn kind(one: Pair<'_>, other: Pair<'_>) -> Option<Kind> {
    one_way(one, other).or_else(|| one_way(other, one))
}

fn one_way((stem, environment): Pair<'_>, (stem2, environment2): Pair<'_>) -> Option<Kind> {
    if environment == environment2 {
        return goes_on(stem, stem2).then_some(Kind::StemGoesOn);
    }
    let front = environment.strip_suffix(environment2)?;
    if is_digits(front) {
        let related = stem == stem2 || goes_on(stem, stem2) || goes_on(stem2, stem);
        return related.then_some(Kind::EnvironmentBeginsWithDigits);
    }
    let digits = front.len() - front.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (letters, digits) = front.split_at(front.len() - digits);
    let held = (0..digits.len()).any(|cut| {
        let (in_stem, counter) = digits.split_at(cut);
        let rest = stem2.strip_prefix(stem);
        let rest = rest.and_then(|rest| rest.strip_suffix(in_stem));
        let between = rest.and_then(|rest| rest.strip_suffix(letters));
        is_number(counter) && between.is_some_and(is_number)
    });
    held.then_some(Kind::EnvironmentHoldsACounter)
}

/// Whether `longer` is `stem` and a number.
fn goes_on(stem: &str, longer: &str) -> bool {
    longer.strip_prefix(stem).is_some_and(is_number)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    is_digits(text) && !text.starts_with('0')
}

/// All texts of 1 to 3 of `a`, `0`, `1`.
fn texts() -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut place = 0;
    while texts[place].len() < 3 {
        for letter in ["a", "0", "1"] {
            texts.push(format!("{}{letter}", texts[place]));
        }
        place += 1;
    }
    texts.split_off(1)
}

/// The pairs of stem and environment that have a name in common, found by making the names.
fn colliding(texts: &[String]) -> BTreeSet<(Pair<'_>, Pair<'_>)> {
    // Other digits than the texts have would do nothing new.
    let counters: Vec<_> = (1..64_u32).map(|number| format!("{number:b}")).collect();
    let mut names: HashMap<String, Vec<Pair<'_>>> = HashMap::new();
    for stem in texts {
        for environment in texts {
            for counter in &counters {
                let of_name = names.entry(format!("{stem}{counter}{environment}"));
                of_name.or_default().push((stem, environment));
            }
        }
    }
    let mut colliding = BTreeSet::new();
    for pairs in names.values() {
        for (place, one) in pairs.iter().enumerate() {
            colliding.extend(pairs[place + 1..].iter().map(|other| (*one, *other)));
        }
    }
    colliding
}

/// Whether the rules allow this environment, and some cut of this stem.
fn is_allowed((stem, environment): Pair<'_>) -> bool {
    let cut = |at: usize| {
        let prefix = Prefix::new(
            Application::try_from(stem[..at].to_owned()).ok()?,
            Role::try_from(stem[at..].to_owned()).ok()?,
            Environment::try_from(environment.to_owned()).ok()?,
        );
        prefix
            .ok()
            .filter(|prefix| Policy::default().check(prefix).is_ok())
    };
    (1..stem.len()).any(|at| cut(at).is_some())
}

#[test]
fn names_collide_for_three_reasons_and_the_rules_allow_none_of_them() {
    let texts = texts();
    let colliding = colliding(&texts);
    let mut of_kind: BTreeMap<Kind, usize> = BTreeMap::new();
    for (one, other) in &colliding {
        let kind = kind(*one, *other);
        let kind = kind.unwrap_or_else(|| panic!("{one:?} and {other:?} collide for no reason"));
        *of_kind.entry(kind).or_default() += 1;
        assert!(
            !(is_allowed(*one) && is_allowed(*other)),
            "the rules allow {one:?} and {other:?}"
        );
    }
    assert_eq!(of_kind.len(), 3, "{of_kind:?}");
    let all: Vec<Pair<'_>> = (texts.iter())
        .flat_map(|stem| texts.iter().map(|environment| (&**stem, &**environment)))
        .collect();
    for (place, one) in all.iter().enumerate() {
        for other in &all[place + 1..] {
            let found = colliding.contains(&(*one, *other)) || colliding.contains(&(*other, *one));
            assert_eq!(kind(*one, *other).is_some(), found, "{one:?} and {other:?}");
        }
    }
}

#[test]
fn the_known_pairs_are_of_their_kinds() {
    for (one, other, known) in [
        (("ab", "x"), ("ab1", "x"), Kind::StemGoesOn),
        (("a", "2x"), ("a", "x"), Kind::EnvironmentBeginsWithDigits),
        (
            ("aa", "a1a1"),
            ("aa1a", "a1"),
            Kind::EnvironmentHoldsACounter,
        ),
    ] {
        assert_eq!(kind(one, other), Some(known));
        assert_eq!(kind(other, one), Some(known));
    }
    assert_eq!(kind(("web", "dev"), ("db", "dev")), None);
}

proptest! {
    /// What is left: the same letters, cut elsewhere. They share every name, and so their registration.
    #[test]
    fn prefixes_that_share_a_name_share_their_stem_and_environment(
        stem in "[a-z]{2,3}[0-9]{0,1}[a-z]{1,3}",
        environments in ("[a-z]{1,3}", "[a-z]{1,3}"),
        cuts in (1..3_usize, 1..3_usize),
        other_stem in proptest::option::of("[a-z]{2,3}[0-9]{0,1}[a-z]{1,3}"),
        numbers in (1..2000_u64, 1..2000_u64),
    ) {
        let prefix = |stem: &str, cut: usize, environment: &str| Prefix::new(
            stem[..cut].to_owned().try_into().unwrap(),
            stem[cut..].to_owned().try_into().unwrap(),
            environment.to_owned().try_into().unwrap(),
        ).unwrap();
        let other_stem = other_stem.as_deref().unwrap_or(&stem);
        let one = prefix(&stem, cuts.0, &environments.0);
        let other = prefix(other_stem, cuts.1, &environments.1);
        let name = |prefix: &Prefix, number| prefix.hostname(Counter::new(number).unwrap());
        let surroundings = |prefix| Shape::default().template.surroundings(prefix);
        let same = surroundings(&one) == surroundings(&other);
        prop_assert_eq!(name(&one, numbers.0) == name(&other, numbers.1), same && numbers.0 == numbers.1);
        prop_assert_eq!(name(&one, numbers.0) == name(&other, numbers.0), same);
    }
}
