// The page's elements, made without a framework.

/** Makes an element: its properties, then its children, which are elements or text. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A small square of a colour, `[r, g, b]`. */
export function swatch(colour) {
  const made = element("i", { className: "swatch" });
  made.style.background = `rgb(${colour})`;
  return made;
}

/** A canvas with RGBA bytes on it. */
export function paint(canvas, pixels, width, height) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}
