/*
 * Builds the parts of the page and tells each what the others did.
 *
 * What is looked at is in the address: parts ask it to change, and all follow it.
 */

import { Address, FILTERS } from "./ask/address.js";
import { Filters } from "./ask/filters.js";
import { withValue, wordsOf } from "./ask/query.js";
import { Totals } from "./ask/totals.js";
import { Charts } from "./charts/charts.js";
import { ApiError, onKeyNeeded, readJson } from "./common/api.js";
import { toast } from "./common/clipboard.js";
import { byId, oncePerFrame } from "./common/dom.js";
import { bytes, whole } from "./common/format.js";
import { listenForKeys } from "./common/keyboard.js";
import { askForKey } from "./common/login.js";
import { recall, remember } from "./common/memory.js";
import { followTheme } from "./common/theme.js";
import { Detail } from "./event/detail.js";
import { showHelp } from "./help.js";
import { makeNoMatch, makeWelcome } from "./lists/empty.js";
import { Feed } from "./lists/feed.js";
import { List } from "./lists/list.js";
import { Roster } from "./lists/roster.js";
import { rootOf, Sessions } from "./lists/sessions.js";
import { isWay } from "./lists/sorting.js";

const STATS_EVERY = 3_000;
const STATES = { connecting: "Connecting", live: "Live", broken: "Reconnecting" };
const NARROW = "(max-width: 900px)";

const address = new Address();
const feed = new Feed();
const list = new List(byId("list"), feed.rows);
const roster = new Roster();
const sessions = new Sessions(byId("sessions"), roster);
const detail = new Detail(byId("detail"));
const filters = new Filters(byId("filters"), address);
const totals = new Totals(address);
const charts = new Charts(byId("charts"), address, totals);

let hasKey = false;
let problem = "";
let empty = null;
let stored = null; // events, of all filters
let wantedSession = null; // the last that was asked for

onKeyNeeded(async () => {
  hasKey = true;
  await askForKey();
});

address.addEventListener("change", ({ detail: changed }) => {
  if (["sort", "view", ...FILTERS].some((name) => changed.has(name))) open();
  if (changed.has("filter")) markWords();
  if (changed.has("event") || changed.has("tab")) showDetail();
});

feed.addEventListener("change", ({ detail: change }) => {
  list.update(change);
  showList();
  if (!feed.isLoading) totals.release();
  if (change.isNew) {
    totals.touch();
    filters.refresh();
    if (isSessions()) roster.touch();
  }
});
feed.addEventListener("updates", ({ detail: { events } }) => {
  detail.update(events);
  if (isSessions()) roster.touch();
});
feed.addEventListener("lost", () => {
  // Any event may have changed.
  list.reset();
  feed.reopen();
  detail.reread();
  totals.touch();
  filters.refresh();
  if (isSessions()) roster.touch();
});
feed.addEventListener("state", () => {
  showStatus();
  if (feed.state === "live") detail.retry();
});
feed.addEventListener("problem", ({ detail: text }) => {
  problem = text;
  showList();
});
feed.addEventListener("store", () => {
  // Another database: its rows have other numbers, so what was open is not there.
  address.set({ event: null, tab: null });
  list.reset();
  if (isSessions()) readSessions();
  filters.refresh(true);
  totals.reset();
});
totals.addEventListener("change", () => showList());

list.addEventListener("open", ({ detail: { id } }) => openEvent(id));
list.addEventListener("near-end", () => feed.readOlder());
list.addEventListener("sort", ({ detail: { sort } }) => address.set({ sort }));
list.addEventListener("reopen", () => {
  list.reset();
  feed.reopen();
});

sessions.addEventListener("open", ({ detail: { id } }) => openSession(id));
sessions.addEventListener("near-end", () => roster.readMore());
sessions.addEventListener("sort", ({ detail: { sort } }) => address.set({ sort }));
sessions.addEventListener("clear", () => filters.clear());
for (const view of ["events", "sessions"])
  byId(`view-${view}`).addEventListener("click", () => showAs(view));

detail.addEventListener("close", close);
detail.addEventListener("session", ({ detail: { session } }) => sessions.markOpen(session));
detail.addEventListener("open", ({ detail: { id } }) => address.set({ event: id }, { step: true }));
detail.addEventListener("tab", ({ detail: { tab } }) =>
  address.set({ tab: tab === "conversation" ? null : tab }),
);
detail.addEventListener("only", ({ detail: { session } }) =>
  address.set({ filter: withValue("", "session", session) }, { step: true }),
);

filters.addEventListener("pause", pause);
filters.addEventListener("help", showHelp);
filters.addEventListener("cleared", () => totals.touch());
byId("help").addEventListener("click", showHelp);
byId("toggle-charts").addEventListener("click", toggleCharts);
followTheme(byId("theme"), () => charts.recolour());

listenForKeys({
  "/": () => filters.focusSearch(),
  "?": showHelp,
  Escape: leave,
  Enter: () => table().activeId !== null && openRow(table().activeId),
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  PageDown: () => move(15),
  PageUp: () => move(-15),
  p: pause,
  g: () => table().follow(),
  s: () => table().focusSort(),
  v: () => showAs(isSessions() ? "events" : "sessions"),
  e: () => filters.toggleErrors(),
  c: toggleCharts,
});

/** Read what the address says: events, and sessions if those are looked at. */
function open() {
  problem = "";
  list.reset();
  const wanted = address.get("sort");
  const sort = !isSessions() && isWay(wanted) ? wanted : "";
  list.sort = sort;
  totals.reset();
  feed.open(() => address.filters, sort);
  if (isSessions()) readSessions();
  else roster.close();
  showView();
}

function readSessions() {
  sessions.reset();
  sessions.sort = address.get("sort");
  roster.open(() => address.filters, sessions.sort);
}

function isSessions() {
  return address.get("view") === "sessions";
}

/** What is walked by keys. */
function table() {
  return isSessions() ? sessions : list;
}

function showAs(view) {
  // Each table has an order of its own.
  if (isSessions() !== (view === "sessions"))
    address.set({ view: view === "events" ? null : view, sort: null }, { step: true });
  table().focus();
}

function showView() {
  // What says that there are no events stands in the list.
  sessions.isShown = isSessions() && empty === null;
  byId("list").hidden = sessions.isShown;
  byId("view-events").setAttribute("aria-pressed", String(!isSessions()));
  byId("view-sessions").setAttribute("aria-pressed", String(isSessions()));
}

function openRow(id) {
  if (isSessions()) openSession(id);
  else openEvent(id);
}

/** Open the event that a session begins with, in its tree. */
async function openSession(id) {
  wantedSession = id;
  try {
    const root = await rootOf(id);
    if (wantedSession !== id) return;
    if (root === null) toast("This session has no events yet");
    else address.set({ event: root, tab: "session" }, { step: !address.get("event") });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message);
  }
}

function openEvent(id) {
  // Going from event to event is one step, so that "back" leads to the list.
  address.set({ event: id }, { step: !address.get("event") });
}

function close() {
  wantedSession = null;
  address.set({ event: null, tab: null });
  table().focus();
}

function leave() {
  if (document.activeElement.matches("input, select")) table().focus();
  else if (detail.isOpen) close();
}

function move(step) {
  const id = table().move(step);
  if (detail.isOpen && id !== null) openRow(id);
  else table().focus();
}

function pause() {
  feed.pause(!feed.isPaused);
  filters.showPaused(feed.isPaused);
}

function toggleCharts() {
  showCharts(byId("charts").hidden);
  remember("charts", byId("charts").hidden ? "off" : "on");
}

function showCharts(isShown) {
  byId("charts").hidden = !isShown;
  byId("toggle-charts").setAttribute("aria-expanded", String(isShown));
  if (isShown) charts.refresh();
}

function markWords() {
  detail.find(wordsOf(address.get("filter")));
}

function showDetail() {
  const id = Number(address.get("event"));
  const isOne = Number.isSafeInteger(id) && id > 0;
  byId("stage").classList.toggle("is-split", isOne);
  list.markOpen(isOne ? id : null);
  if (!isOne) sessions.markOpen(null);
  const hadFocus = byId("detail").contains(document.activeElement);
  detail.show(isOne ? id : null, address.get("tab"));
  if (hadFocus && !isOne) table().focus(); // "back" led here, or the event is gone
}

const showList = oncePerFrame(() => {
  const size = feed.rows.size;
  const isEmpty = size === 0 && !feed.isLoading;
  const hint = totals.elsewhere?.events ? `${totals.elsewhere.newest}` : "";
  const noMatch = `no-match ${problem} ${hint}`;
  const wanted = !isEmpty ? "" : address.isFiltered || problem ? noMatch : "welcome";
  if (wanted !== (empty?.dataset.kind ?? "")) {
    empty?.remove();
    empty =
      wanted === ""
        ? null
        : wanted === "welcome"
          ? makeWelcome(hasKey)
          : makeNoMatch(problem, totals.elsewhere, address, () => filters.clear());
    if (empty !== null) {
      empty.dataset.kind = wanted;
      byId("list").append(empty);
    }
    list.isShown = empty === null;
    showView();
    document.body.classList.toggle("is-welcome", wanted === "welcome");
  }
  list.waiting = feed.rows.isSorted ? feed.waiting : 0;
  list.note = feed.note;
  showCount();
  showStatus();
});

/** Say how many there are, but not before the list has them: both are of the same filter. */
function showCount() {
  const { rows, isComplete, isLoading, isPaused } = feed;
  const isWhole = isComplete && !isPaused && !rows.isFull && rows.gap === null;
  if (isWhole && rows.size < totals.now?.events) return;
  filters.showCount(isLoading ? null : totals.now, address.isFiltered ? stored : null);
}

function showStatus() {
  const isPaused = feed.isPaused && feed.state === "live";
  byId("status").dataset.state = isPaused ? "paused" : feed.state;
  const text = isPaused
    ? `Paused${feed.waiting ? `, ${whole(feed.waiting)} new` : ""}`
    : STATES[feed.state];
  if (byId("status-text").textContent !== text) byId("status-text").textContent = text;
}

async function showStats() {
  if (document.hidden || feed.state !== "live") return;
  try {
    const stats = await readJson("/api/stats");
    stored = stats.events;
    byId("stored").textContent = stats.events ? `${bytes(stats.bytes)} stored` : "";
    showList();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // the stream says that it is gone
  }
}

showCharts((recall("charts") || (matchMedia(NARROW).matches ? "off" : "on")) === "on");
markWords();
showDetail();
open();
filters.refresh(true);
feed.addEventListener("state", showStats);
setInterval(showStats, STATS_EVERY);
