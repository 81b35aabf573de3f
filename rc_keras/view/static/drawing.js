// Pictures of predictions, to the pixel those of `Task.draw`: numbers in, RGBA bytes out; no document is needed.

const UNKNOWN = [255, 0, 255];
const single = Math.fround;  // Task.draw computes in float32

/** To the nearest integer, halves to the even one, as NumPy rounds. */
const round = v => { const r = Math.round(v); return r - v === 0.5 && r % 2 !== 0 ? r - 1 : r; };

/** 0 … 1 as a byte; what is no number is 0. */
export function toByte(v) {
  const x = Number.isNaN(v) ? 0 : Math.min(Math.max(single(v), 0), 1);
  return round(single(x * 255));
}

/** The class of each pixel, from logits of `channels` classes or from ids. */
export function classes(values, channels) {
  if (channels === 1) return values;
  const ids = new Uint16Array(values.length / channels);
  for (let i = 0; i < ids.length; i++) {
    const start = i * channels;
    let best = 0;
    for (let c = 1; c < channels; c++) if (values[start + c] > values[start + best]) best = c;
    ids[i] = best;
  }
  return ids;
}

/** Lowest and highest of the first channel's finite numbers. */
export function range(values, channels = 1) {
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < values.length; i += channels) {
    const v = values[i];
    if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  }
  return low <= high ? [low, high] : [0, 1];
}

/** What an answer is: its height, width and channels; ids of classes have one. */
export function shapeOf(task, dims) {
  const [height, width, channels = 1] = dims.slice(1);
  return { height, width, channels };
}

/** The lowest and highest value of a task's scale of colours: the scale's own, or those of the answer. */
export function scale(task, values, channels) {
  const { low, high } = task.ramp;
  return low === null || high === null ? range(values, channels) : [low, high];
}

/** Whether colours are known for an answer: of classes, of a scale, or of directions. */
export const drawable = (task, channels) => Boolean(task.classes || task.ramp) || (Boolean(task.axes) && channels === 3);

/**
 * Draws an answer; black, if it is not drawable.
 * @param task its entry in the description.
 * @param values its numbers, rows of pixels, the channels of a pixel side by side.
 * @param channels how many these are.
 * @returns RGBA bytes, four a pixel.
 */
export function draw(task, values, channels) {
  const count = values.length / channels, pixels = new Uint8ClampedArray(4 * count).fill(255);
  const set = (i, [r, g, b]) => { pixels[4 * i] = r; pixels[4 * i + 1] = g; pixels[4 * i + 2] = b; };
  if (task.classes) {
    const colours = new Map(task.classes.map(({ id, colour }) => [id, colour]));
    classes(values, channels).forEach((id, i) => set(i, colours.get(id) ?? UNKNOWN));
  } else if (task.ramp) {
    const [low, high] = scale(task, values, channels), span = Math.max(high - low, 1e-12), { colours } = task.ramp;
    const fixed = task.ramp.low !== null;
    for (let i = 0; i < count; i++) {
      const v = values[i * channels];
      if (fixed) set(i, colours[toByte((v - low) / span)]);
      else set(i, Number.isFinite(v) ? colours[255 - toByte((high - v) / span)] : UNKNOWN);
    }
  } else {
    for (let i = 0; i < count; i++) set(i, !drawable(task, channels) ? [0, 0, 0] : [0, 1, 2].map(c => toByte(single(single(values[3 * i + c] + 1) / 2))));
  }
  return pixels;
}
