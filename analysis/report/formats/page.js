"use strict";

const told = document.getElementById("told");

// What there is to say of a run, beside its dot.
function tell(dot, text) {
  const at = dot.getBoundingClientRect();
  told.textContent = text;
  told.hidden = false;
  told.style.left = Math.max(4, Math.min(at.right + 8, innerWidth - told.offsetWidth - 4)) + "px";
  told.style.top = Math.max(4, at.top - told.offsetHeight - 6) + "px";
}

function leave() {
  told.hidden = true;
}

// The row of a run, in the table of all runs.
function visit(run) {
  const row = document.getElementById("run-" + run);
  row.closest("details").open = true;
  location.hash = "run-" + encodeURIComponent(run);
  row.focus();
}

function point(dot, run) {
  const text = run.text + ", run " + run.run;
  dot.classList.add("dot");
  dot.setAttribute("tabindex", "0");
  dot.setAttribute("role", "link");
  dot.setAttribute("aria-label", text);
  for (const event of ["mouseenter", "focus"]) dot.addEventListener(event, () => tell(dot, text));
  for (const event of ["mouseleave", "blur"]) dot.addEventListener(event, leave);
  dot.addEventListener("click", () => visit(run.run));
  dot.addEventListener("keydown", (event) => {
    if (event.key === "Enter") visit(run.run);
    if (event.key === "Escape") leave();
  });
}

for (const figure of document.querySelectorAll("figure.curves")) {
  const budgets = figure.querySelector("fieldset");
  for (const series of JSON.parse(figure.querySelector("script").textContent)) {
    const marks = figure.querySelectorAll(`[id^="${CSS.escape(series.gid)}"]`);
    for (const mark of marks) {
      if (mark.id.endsWith(figure.dataset.runs)) {
        mark.querySelectorAll("use").forEach((dot, i) => point(dot, series.dots[i]));
      }
    }
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.style.width = "auto";
    box.addEventListener("change", () => marks.forEach((mark) => mark.classList.toggle("off", !box.checked)));
    label.innerHTML = " " + series.label;
    label.prepend(box);
    budgets.append(label);
  }
  budgets.hidden = false;
}

const answers = JSON.parse(document.getElementById("answers").textContent);
const ask = document.getElementById("ask");

function nearest(predictions, flops) {
  const away = (p) => Math.abs(Math.log(p.flops / flops));
  return predictions.reduce((best, p) => (away(p) < away(best) ? p : best));
}

// A number such as 1e19, or NaN; an empty field is no limit.
function asked(field, otherwise) {
  const text = field.value.trim();
  const value = text === "" && otherwise !== undefined ? otherwise : Number(text || NaN);
  const good = value > 0;
  field.setCustomValidity(good ? "" : "a positive number, such as 1e19");
  return good ? value : NaN;
}

function advise() {
  const flops = asked(ask.elements.flops);
  const memory = asked(ask.elements.memory, Infinity);
  const answered = document.getElementById("answered");
  const body = document.querySelector("#advice tbody");
  body.replaceChildren();
  if (Number.isNaN(flops) || Number.isNaN(memory)) {
    answered.textContent = "Give positive numbers, such as 1e19 FLOPs and 0.5 GiB.";
    return;
  }
  const rows = [], outside = [];
  for (const one of answers) {
    const found = nearest(one.answers, flops);
    if (Math.abs(Math.log(found.flops / flops)) > 0.1) {
      const ends = [one.answers[0].budget, one.answers[one.answers.length - 1].budget];
      outside.push(`the runs of ${one.model} support ${ends.join(" to ")} FLOPs`);
      continue;
    }
    const size = one.parameters * Number(ask.elements.bytes.value) / 2 ** 30;
    rows.push({ one, found, size, fits: size <= memory });
  }
  rows.sort((a, b) => b.fits - a.fits || a.found.value - b.found.value);
  rows.forEach(({ one, found, size, fits }, i) => {
    const row = body.insertRow();
    row.className = fits ? (i === 0 ? "best" : "") : "large";
    const remarks = [...(fits ? [] : ["Does not fit."]), ...(found.extrapolated.length ? ["Extrapolated:"] : []), ...found.extrapolated];
    const cells = [one.model, size.toPrecision(3), found.mean_recurrence, found.tokens, found.loss, remarks.join(" ")];
    for (const cell of cells) row.insertCell().innerHTML = cell;
  });
  const shown = rows.length ? [`At ${rows[0].found.budget} FLOPs`] : ["No answer"];
  answered.innerHTML = [...shown, ...outside].join("; ") + ".";
}

if (ask) {
  ask.addEventListener("input", advise);
  ask.addEventListener("submit", (event) => event.preventDefault());
  advise();
}
