// The pictures that a reader searches with: chosen, dropped or pasted. They are made small before they are sent.

const SIDE = 448; // pixels; models read fewer
const $ = (id) => document.getElementById(id);

/** A small JPEG of an image file as a data: URL. Throws an Error if the browser cannot read the file. */
export async function shrink(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This browser cannot read that file as a picture.");
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // shows where the picture is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.92);
}

export const isAddress = (text) => /^https?:\/\/\S+$/i.test(text.trim());

/** Call `found({image})` or `found({url})` when the reader gives a picture, `failed(error)` if it cannot be read. */
export function listen(found, failed) {
  const panel = $("picture-panel");
  const button = $("picture");

  function open(wanted) {
    panel.hidden = !wanted;
    button.setAttribute("aria-expanded", String(wanted));
    if (wanted) $("address").focus();
  }
  async function take(file) {
    open(false);
    try {
      found({ image: await shrink(file) });
    } catch (error) {
      failed(error);
    }
  }
  function address() {
    const url = $("address").value.trim();
    if (!isAddress(url)) {
      $("address").setCustomValidity("An address begins with https:// or http://");
      $("address").reportValidity();
      return;
    }
    open(false);
    $("address").value = "";
    found({ url });
  }

  button.addEventListener("click", () => open(panel.hidden));
  $("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) take(file);
    event.target.value = "";
  });
  $("address").addEventListener("input", () => $("address").setCustomValidity(""));
  $("address").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // otherwise the form searches for the words
    address();
  });
  $("address-go").addEventListener("click", address);
  document.addEventListener("click", (event) => {
    if (!panel.hidden && !panel.contains(event.target) && !button.contains(event.target)) open(false);
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    open(false);
    button.focus();
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((entry) => entry.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    take(file);
  });

  let inside = 0; // dragenter and dragleave fire for every element on the way
  const dragsFile = (event) => event.dataTransfer?.types.includes("Files");
  const cover = (wanted) => ($("drop").hidden = !wanted);
  document.addEventListener("dragenter", (event) => dragsFile(event) && ((inside += 1), cover(true)));
  document.addEventListener("dragleave", (event) => dragsFile(event) && (inside -= 1) <= 0 && cover(false));
  document.addEventListener("dragover", (event) => dragsFile(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!dragsFile(event)) return;
    event.preventDefault();
    inside = 0;
    cover(false);
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
