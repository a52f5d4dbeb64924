// Two kinds of drawings on a canvas: a matrix of weights, and lines over epochs.

const NEGATIVE = [[255, 255, 255], [146, 197, 222], [33, 102, 172]];
const POSITIVE = [[255, 255, 255], [244, 165, 130], [178, 24, 43]];

/** The colour of a weight: white at 0, full from the bound of the start on. */
function weightColour(value, bound) {
  if (!Number.isFinite(value)) return [0, 0, 0];
  const ramp = value < 0 ? NEGATIVE : POSITIVE;
  const place = Math.min(Math.abs(value) / bound, 1) * 2;
  const from = Math.min(Math.floor(place), 1);
  return ramp[from].map((c, i) => c + (ramp[from + 1][i] - c) * (place - from));
}

/** Draw a matrix, rows down the page, one pixel a weight; CSS makes it larger. */
function drawMatrix(canvas, values, rows, columns, bound) {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  values.forEach((value, i) => {
    image.data.set([...weightColour(value, bound), 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Round numbers that divide an axis into about so many parts. */
function ticks(low, high, parts) {
  const raw = (high - low) / parts;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-9); n++) {
    found.push(Number((n * step).toPrecision(6)));
  }
  return found;
}

/**
 * Draw lines over epochs.
 * lines: {name, values by epoch, colour, width, dash}; options: log (of the y axis).
 */
function drawLines(canvas, lines, { log = false } = {}) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const [ink, faint] = ["--faint", "--line"].map((v) => style.getPropertyValue(v));
  context.font = "12px system-ui, sans-serif";

  const scale = log ? Math.log10 : (x) => x;
  const known = lines.flatMap(({ values }) => values.filter(
    (x) => Number.isFinite(x) && (!log || x > 0),
  ));
  let low = log ? Math.floor(Math.log10(Math.min(...known, 1))) : 0;
  let high = log ? Math.log10(Math.max(...known, 1)) : Math.max(...known, 0.1);
  if (log) high = Math.max(Math.ceil(high), low + 1);
  const last = Math.max(10, ...lines.map(({ values }) => values.length - 1));
  const box = { left: 44, right: width - 10, top: 8, bottom: height - 22 };
  const x = (epoch) => box.left + (epoch / last) * (box.right - box.left);
  const y = (value) =>
    box.bottom - ((scale(value) - low) / (high - low)) * (box.bottom - box.top);

  context.fillStyle = ink;
  context.strokeStyle = faint;
  context.lineWidth = 1;
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of log ? decades : ticks(low, high, 4)) {
    context.beginPath();
    context.moveTo(box.left, y(value));
    context.lineTo(box.right, y(value));
    context.stroke();
    context.fillText(String(Number(value.toPrecision(3))), box.left - 6, y(value));
  }
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  for (const epoch of ticks(0, last, 5)) {
    context.fillText(epoch, Math.min(x(epoch), box.right - 8), height - 5);
  }

  for (const { values, colour, width: thickness = 2, dash = [] } of lines) {
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.setLineDash(dash);
    context.beginPath();
    let pen = false;
    values.forEach((value, epoch) => {
      if (!Number.isFinite(value) || (log && value <= 0)) {
        pen = false;
        return;
      }
      context[pen ? "lineTo" : "moveTo"](x(epoch), y(value));
      pen = true;
    });
    context.stroke();
  }
  context.setLineDash([]);
}
