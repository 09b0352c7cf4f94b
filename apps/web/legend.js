// Each name is a switch; its swatch shows the colours used in the drawing.
function mark(label, on) {
  label.classList.toggle("off", !on);
  label.title = on ? "Click to hide" : "Click to show";
}

function show() {
  const labels = (props.value || []).map(({ name, colours, on }, number) => {
    const label = document.createElement("label"), box = document.createElement("input"), swatch = document.createElement("i");
    mark(label, on);
    box.type = "checkbox";
    box.checked = on;
    box.dataset.number = number;
    const stripes = colours.map((c, k) => `${c} ${(100 * k) / colours.length}% ${(100 * (k + 1)) / colours.length}%`);
    swatch.style.background = `linear-gradient(90deg, ${stripes.join(", ")})`;
    label.append(box, swatch, name);
    return label;
  });
  const hint = document.createElement("small");
  hint.textContent = labels.length ? "click to hide or show" : "";
  element.querySelector(".chips").replaceChildren(...labels, hint);
}

element.addEventListener("change", (event) => {
  const number = Number(event.target.dataset.number);
  props.value = props.value.map((entry, k) => (k === number ? { ...entry, on: event.target.checked } : entry));
  mark(event.target.closest("label"), event.target.checked); // in place, to keep the focus
  trigger("switched");
});
watch("value", show);
show();
