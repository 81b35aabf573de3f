// Where pictures come from: a file, the camera, an example; and how they become what the network expects.

/** Fills a canvas with a picture or video, scaled until it covers it, the middle of it. */
export function fit(canvas, source, width, height) {
  const w = source.videoWidth ?? source.width, h = source.videoHeight ?? source.height;
  const factor = Math.max(width / w, height / h), context = canvas.getContext("2d", { willReadFrequently: true });
  canvas.width = width;
  canvas.height = height;
  context.imageSmoothingQuality = "high";
  context.drawImage(source, (width - w * factor) / 2, (height - h * factor) / 2, w * factor, h * factor);
}

/** A canvas as numbers: RGB in 0 … 255, rows of pixels, the same picture for each of the batch. */
export function numbers(canvas, batch) {
  const rgba = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, count = rgba.length / 4;
  const image = new Float32Array(3 * count * batch);
  for (let i = 0; i < count * batch; i++) {
    const from = 4 * (i % count);
    image[3 * i] = rgba[from];
    image[3 * i + 1] = rgba[from + 1];
    image[3 * i + 2] = rgba[from + 2];
  }
  return image;
}

/** The picture in a file. */
export async function readPicture(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw Error(`${file.name ?? "That"} is no picture that this browser can read. JPEG, PNG and WebP are.`);
  }
}

/** A video of the camera; rejects with what to do. */
export async function openCamera() {
  if (!navigator.mediaDevices) throw Error("The camera needs a safe page: open this one by https, or on localhost.");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    return video;
  } catch (error) {
    const known = {
      NotAllowedError: "The camera was refused. Allow it beside the page's address, or choose a picture.",
      NotFoundError: "There is no camera. Choose a picture instead.",
      NotReadableError: "Another program uses the camera.",
    };
    throw Error(known[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
}

export function closeCamera(video) {
  for (const track of video.srcObject.getTracks()) track.stop();
}
