//! A state as 128 bits: with ten million states the chance that any two share them is below 1 in
//! 10^24.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// The states seen so far: 128 bits for each, with their number.
pub(crate) type Seen = std::collections::HashMap<u128, u32, BuildHasherDefault<Identity>>;

/// The 128 bits of `value`.
pub(crate) fn fingerprint(value: &impl Hash) -> u128 {
    let mut lanes = Lanes {
        lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344],
        word: 0,
        filled: 0,
    };
    value.hash(&mut lanes);
    lanes.close()
}

/// Two independent 64-bit lanes of multiply-and-fold over 8-byte words.
struct Lanes {
    lanes: [u64; 2],
    word: u64,
    filled: u32,
}

impl Lanes {
    fn push(&mut self, byte: u8) {
        self.word |= u64::from(byte) << (8 * self.filled);
        self.filled += 1;
        if self.filled == 8 {
            self.mix();
        }
    }

    fn mix(&mut self) {
        let [first, second] = self.lanes;
        self.lanes = [
            fold(first ^ self.word, 0x9e37_79b9_7f4a_7c15),
            fold(second ^ self.word, 0xd1b5_4a32_d192_ed03),
        ];
        self.word = 0;
        self.filled = 0;
    }

    fn close(mut self) -> u128 {
        self.mix();
        self.mix();
        u128::from(self.lanes[0]) << 64 | u128::from(self.lanes[1])
    }
}

/// The two halves of the product, on top of each other; never zero for long.
fn fold(word: u64, by: u64) -> u64 {
    let product = u128::from(word) * u128::from(by);
    (product as u64) ^ ((product >> 64) as u64) ^ by.rotate_left(31)
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        self.lanes[0]
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.push(byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.push(byte);
    }

    /// The variant of an enum; none here has more than 256.
    fn write_isize(&mut self, variant: isize) {
        self.push(variant as u8);
    }

    /// The length of an array, which never differs.
    fn write_usize(&mut self, _length: usize) {}
}

/// Fingerprints are spread well enough as they are.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_in_one_byte_anywhere_have_different_fingerprints() {
        let zeros = [0u8; 37];
        let mut seen = vec![fingerprint(&zeros)];
        for at in 0..zeros.len() {
            for value in 1..=255 {
                let mut bytes = zeros;
                bytes[at] = value;
                seen.push(fingerprint(&bytes));
            }
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
