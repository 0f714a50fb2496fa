//! Chance that is the same each time.

/// A linear congruential generator with the numbers of Knuth's MMIX (The Art of Computer Programming, volume 2, 3.3.4).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed);
        dice.roll(2); // Neighbouring seeds have the same first number.
        dice
    }

    /// 0 to `sides` - 1.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}
