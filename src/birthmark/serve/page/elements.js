// Elements of the page. What comes from a store becomes text, never markup.

/** An element with properties, `on...` handlers, data-* and aria-* attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "for" || name === "role") {
      element.setAttribute(name, value);
    } else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** A number in as many digits as one reads. */
export function say(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map(say).join(" × ");
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3)))
    : value.toExponential(2);
}

/** A choice between names, with a label before it. */
export function choice(label, options, chosen, choose) {
  const select = h("select", { onchange: () => choose(select.value) },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  return h("label", {}, `${label} `, select);
}

/** Whether a run is being written, was stopped, killed, ...: in words and colour. */
export function badge(run) {
  return h("span", { className: "badge", "data-state": run.state }, run.state);
}

const LABELS = {
  relative_distance: "relative distance", deviation_std: "deviation", mark_auc: "retention",
};

/** What an outcome is called in the page. */
export const label = (name) => LABELS[name] ?? name.replaceAll("_", " ");
