//! Reproducible chance: the same seed loses the same frames. Never used for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to pick frames.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn seeded(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in `share` of the calls. Draws even when the answer is certain only if it is not.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && (share >= 1.0 || self.share() < share)
    }

    /// Uniform in 0..bound; 0 for an empty range.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_happens_about_as_often_as_it_says() {
        let mut rng = Rng::seeded(1);
        let hits = (0..10_000).filter(|_| rng.happens(0.05)).count();
        assert!((400..600).contains(&hits), "{hits}");
    }

    #[test]
    fn never_and_always_are_certain() {
        let mut rng = Rng::seeded(1);
        assert!((0..100).all(|_| !rng.happens(0.0) && rng.happens(1.0)));
    }
}
