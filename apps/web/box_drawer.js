// Press, drag and release to draw a box, in px of the picture. Its numbers are text, so they can also be typed.
const part = (name) => element.querySelector(name);
let start = null;
let unknown = null; // address of a picture that this browser cannot show, such as a TIFF

function numbers(text) {
  const found = String(text ?? "").split(/[\s,;]+/).filter(Boolean).map(Number);
  return found.length === 4 && found.every(Number.isFinite) ? found : null;
}

function place(box) {
  const image = part("img"), frame = part(".frame");
  if (!box || !image.naturalWidth) {
    frame.style.display = "none";
    return;
  }
  const across = 100 / image.naturalWidth, down = 100 / image.naturalHeight;
  frame.style.display = "block";
  frame.style.left = `${box[0] * across}%`;
  frame.style.top = `${box[1] * down}%`;
  frame.style.width = `${(box[2] - box[0]) * across}%`;
  frame.style.height = `${(box[3] - box[1]) * down}%`;
}

function show() {
  const { url, box } = props.value || {};
  const image = part("img");
  part(".stage").classList.toggle("ready", Boolean(url) && url !== unknown);
  part(".hint").textContent = !url
    ? "Upload a picture first, then draw a box on it here."
    : url === unknown
      ? "Your browser cannot show this picture. Type the box below, or upload the picture as PNG or JPEG."
      : "Press, drag and release to draw a box around one person.";
  if (url && image.getAttribute("src") !== url) {
    image.onload = show;
    image.onerror = () => {
      unknown = url;
      show();
    };
    image.src = url;
  }
  place(numbers(box));
}

function point(event) {
  const image = part("img"), edge = image.getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  return [
    Math.round(inside((event.clientX - edge.left) / edge.width) * image.naturalWidth),
    Math.round(inside((event.clientY - edge.top) / edge.height) * image.naturalHeight),
  ];
}

function boxTo(event) {
  const end = point(event);
  const [x, y] = [0, 1].map((k) => [start[k], end[k]].sort((a, b) => a - b));
  return [x[0], y[0], x[1], y[1]];
}

element.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.target.closest(".stage") || !part("img").naturalWidth) return;
  event.preventDefault();
  start = point(event);
  element.setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", (event) => {
  if (start) place(boxTo(event));
});
element.addEventListener("pointerup", (event) => {
  if (!start) return;
  const box = boxTo(event);
  start = null;
  if (box[0] < box[2] && box[1] < box[3]) {
    props.value = { ...(props.value || {}), box: box.join(", ") };
    trigger("drawn");
  } else {
    show();
  }
});
element.addEventListener("pointercancel", () => {
  start = null;
  show();
});
watch("value", show);
show();
