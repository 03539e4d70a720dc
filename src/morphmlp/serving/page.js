"use strict";
// Text of others (names of files and classes) goes into the page by textContent only.
const $ = (id) => document.getElementById(id);
const PALETTE = ["#0b7285", "#c2410c", "#5f3dc4", "#2b8a3e", "#a61e4d", "#1864ab", "#7c5e10", "#495057", "#862e9c",
  "#087f5b"];
const CLIP_MS = 1200; // of the camera: what is sent at a time
const LONGEST_CLIP_MS = 5000; // where a browser that has much to do gives short ones without a picture
const MOST_FAILED_CLIPS = 5; // in a row
let model = null;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const percent = (share) => (100 * share).toFixed(1) + "%";
const readable = (label) => label.replaceAll("_", " ");

function clock(seconds) {
  const tenths = Math.round(10 * seconds), whole = Math.floor(tenths / 10);
  const text = Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0");
  return tenths % 10 ? text + "." + (tenths % 10) : text;
}

// The server

async function ask(path, body, headers = {}) {
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = "Bearer " + token;
  let answer;
  try {
    answer = await fetch(path, body === undefined ? { headers } : { method: "POST", body, headers });
  } catch {
    throw new Error("the server cannot be reached; is it running?");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) askForToken();
  let line = "the server answered with status " + answer.status;
  try {
    const said = await answer.json();
    line = said.error ?? said.results?.[0]?.error ?? line;
  } catch { /* not one of ours */ }
  throw new Error(line);
}

const named = (path, file, options) =>
  path + "?" + new URLSearchParams({ ...options, name: file.name ?? "camera" });

function askForToken() {
  $("access").hidden = false;
  $("inputs").hidden = true;
  $("token").focus();
}

async function begin() {
  try {
    model = await (await ask("/labels")).json();
  } catch (error) {
    $("about").textContent = error.message;
    return false;
  }
  $("access").hidden = true;
  $("inputs").hidden = false;
  const what = model.kind === "video" ? "videos" : "images";
  $("about").textContent = `${model.model} tells ${model.labels.length.toLocaleString("en")} classes in ${what}.`;
  $("drop-title").textContent = `Drop ${what} here`;
  $("files").accept = model.kind + "/*" + (model.kind === "video" ? ",.mkv,.avi,.mts,.gif" : "");
  return true;
}

$("access").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("access-error").textContent = (await begin()) ? "" : $("about").textContent;
});

// Files

async function take(files) {
  for (const file of files) {
    const card = make("article", "result");
    card.append(make("h2", "", file.name));
    $("results").prepend(card);
    $("status").textContent = `${file.name} is being looked at.`;
    try {
      await answer(file, card);
      $("status").textContent = `${file.name} is done.`;
    } catch (error) {
      card.append(make("p", "failed", error.message));
      $("status").textContent = `${file.name} could not be answered.`;
    }
  }
}

async function answer(file, card) {
  if (!model && !(await begin())) throw new Error($("about").textContent); // such as a server that was away
  const most = model.limits.upload_mb;
  if (file.size > 1e6 * most) throw new Error(`it has ${(file.size / 1e6).toFixed(1)} MB; the server takes ${most} MB`);
  const reply = await (await ask(named("/predict", file, { top: 5, strip: true }), file)).json();
  const result = reply.results[0];
  showAnswer(result, card);
  const pictures = make("div", "pictures");
  pictures.append(picture("What the model saw", result.strip));
  card.append(pictures);
  if (model.shows_where_it_looked) {
    const look = await (await ask(named("/predict", file, { top: 1, look: true }), file)).json();
    pictures.append(picture(`Where it looked for ${readable(result.top[0].label)} (Grad-CAM)`, look.results[0].look));
  }
  if (model.windows && result.duration_s > 1.5 * model.windows.length_s) await timeline(file, card, result.duration_s);
}

function showAnswer(result, card) {
  const isNone = result.answers ? !result.answers.length : !result.top.some((entry) => entry.label === result.answer);
  card.append(make("p", isNone ? "answer none" : "answer", readable(result.answer)));
  if (result.incomplete) card.append(make("p", "note", "Incomplete: " + result.incomplete));
  card.append(bars(result.top));
}

function bars(top) {
  const list = make("ol");
  for (const { label, probability } of top) {
    const item = make("li"), track = make("i"), fill = make("b");
    track.setAttribute("aria-hidden", "true");
    fill.style.width = percent(probability);
    track.append(fill);
    item.append(make("span", "", readable(label)), track, make("em", "", percent(probability)));
    list.append(item);
  }
  return list;
}

function picture(caption, url) {
  const figure = make("figure"), image = make("img");
  image.src = url;
  image.alt = caption;
  figure.append(make("figcaption", "", caption), image);
  return figure;
}

// What happens when: lines come while the server computes.

async function timeline(file, card, duration) {
  const box = make("div", "moments"), progress = make("progress");
  progress.setAttribute("aria-label", "Part of the video that is done");
  box.append(make("h3", "", "What happens when"), progress);
  card.append(box);
  const windows = [];
  let head = null;
  const answer = await ask(named("/windows", file, { top: 1, thumbnails: true, step_s: stepOf(duration) }), file,
    { Accept: "application/x-ndjson" });
  for await (const row of lines(answer.body)) {
    if (row.error) throw new Error(row.error);
    if (row.duration_s) head = row;
    if (row.top) {
      windows.push(row);
      progress.value = Math.min(row.end / head.duration_s, 1);
    }
    if (row.segments) {
      progress.remove();
      draw(box, head.duration_s, windows, row.segments);
    }
  }
}

// The model's own step, or a longer one where the server takes no more windows: 600 s in 2,000 are 0.3 s.
const stepOf = (duration) => Math.max(model.windows.step_s, (1.001 * duration) / model.limits.windows);

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function draw(box, duration, windows, segments) {
  const scroll = make("div", "scroll"), wide = make("div", "wide"), strip = make("div", "thumbnails");
  const hint = segments.length ? "Point at a bar, or reach it with the Tab key." : "Nothing was found.";
  const detail = make("p", "moment", hint);
  detail.setAttribute("aria-live", "polite");
  const shown = Math.min(windows.length, 12);
  for (let i = 0; i < shown; i++) {
    const image = make("img");
    image.src = windows[Math.floor(((i + 0.5) * windows.length) / shown)].thumbnail;
    image.alt = "";
    strip.append(image);
  }
  const colours = new Map([...new Set(segments.map((s) => s.label))].map((l, i) => [l, PALETTE[i % PALETTE.length]]));
  const rows = lanes(segments).map((lane) => {
    const row = make("div", "lane");
    for (const segment of lane) row.append(bar(segment, duration, colours.get(segment.label), detail));
    return row;
  });
  wide.append(strip, ...rows, axis(duration));
  scroll.append(wide);
  box.append(scroll, detail);
}

function bar(segment, duration, colour, detail) {
  const node = make("button", "bar", readable(segment.label));
  const text = `${readable(segment.label)}, ${clock(segment.start)} to ${clock(segment.end)}, ${percent(segment.score)}`;
  node.type = "button";
  node.style.left = percent(segment.start / duration);
  node.style.width = percent((segment.end - segment.start) / duration);
  node.style.background = colour;
  node.setAttribute("aria-label", text);
  for (const event of ["focus", "mouseenter", "click"]) node.addEventListener(event, () => (detail.textContent = text));
  return node;
}

// Bars in as few lanes as there are bars at one time.
function lanes(segments) {
  const found = [];
  for (const segment of [...segments].sort((a, b) => a.start - b.start)) {
    let free = found.find((lane) => lane[lane.length - 1].end <= segment.start);
    if (!free) found.push((free = []));
    free.push(segment);
  }
  return found;
}

function axis(duration) {
  const node = make("div", "axis");
  node.setAttribute("aria-hidden", "true");
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((s) => duration / s <= 8) ?? duration / 8;
  for (let time = 0; time <= 0.95 * duration; time += step) {
    const mark = make("span", "", clock(time));
    mark.style.left = percent(time / duration);
    node.append(mark);
  }
  return node;
}

const drop = $("drop");
$("files").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // so that the same file can be chosen again
  take(files);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
  });
}
document.addEventListener("drop", (event) => take(event.dataTransfer.files));

// The camera: one clip is recorded while the one before it is answered.

let stream = null;

$("camera-button").addEventListener("click", () => (stream ? stopCamera() : startCamera()));

async function startCamera() {
  if (!navigator.mediaDevices) {
    $("camera-note").textContent = "Browsers give the camera to https and to this machine's own address only.";
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
  } catch (error) {
    $("camera-note").textContent = `The camera cannot be used: ${error.message}`;
    return;
  }
  $("camera").srcObject = stream;
  await $("camera").play();
  $("camera").closest(".live").classList.add("on");
  $("camera-button").textContent = "Stop the camera";
  watch(stream);
}

function stopCamera(note) {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("camera").srcObject = null;
  $("camera").closest(".live").classList.remove("on");
  $("camera-button").textContent = "Start the camera";
  $("live-result").replaceChildren(...(note ? [make("p", "failed", note)] : []));
}

async function watch(own) {
  let failed = 0;
  const next = () =>
    model.kind === "video" ? clip(own, Math.min(CLIP_MS * 2 ** failed, LONGEST_CLIP_MS)) : still();
  let recording = next();
  while (stream === own) {
    try {
      const recorded = await recording;
      if (stream !== own) return;
      recording = next();
      const reply = await (await ask("/predict?top=3&name=camera", recorded)).json();
      if (stream === own) $("live-result").replaceChildren(bars(reply.results[0].top));
      failed = 0;
    } catch (error) {
      if (stream === own && ++failed === MOST_FAILED_CLIPS) stopCamera(error.message);
    }
  }
}

function clip(own, milliseconds) {
  return new Promise((resolve, reject) => {
    const kind = ["video/webm;codecs=vp8", "video/webm", "video/mp4"].find((k) => MediaRecorder.isTypeSupported(k));
    const recorder = new MediaRecorder(own, { mimeType: kind }), parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => resolve(new Blob(parts, { type: "application/octet-stream" }));
    recorder.onerror = () => reject(new Error("the browser cannot record"));
    recorder.start();
    setTimeout(() => recorder.state !== "inactive" && recorder.stop(), milliseconds);
  });
}

async function still() {
  await new Promise((resolve) => setTimeout(resolve, CLIP_MS));
  const canvas = make("canvas"), video = $("camera");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg"));
}

begin();
