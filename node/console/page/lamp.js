// The rule by which every lamp of a rack is lit: gpio.Pattern.At in JavaScript.
// A test plays the same patterns through both.

// at returns a pattern's level, 0 to 255, at a time in milliseconds.
export function at(pattern, ms) {
  const steps = pattern.steps || [];
  const period = steps.reduce((sum, s) => sum + s.ms, 0);
  if (period <= 0) return 0;
  let t = ((ms % period) + period) % period;
  for (const s of steps) {
    if (t < s.ms) return s.level;
    t -= s.ms;
  }
  return 0;
}
