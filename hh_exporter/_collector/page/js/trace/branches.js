/*
 * The events of a session as a tree: who led to whom.
 *
 * Whatever is sent is a tree. An event whose parent is the session, or is not here, stands below
 * the session's own event, or at the top if there is none. Nothing here touches the document.
 */

import { findLanes } from "./lanes.js";
import { addUp } from "./sums.js";

/** The last level that has rails: further in, rows are not moved to the right any more. */
export const DEEPEST_RAIL = 10;

/**
 * An event in its place.
 *
 * @typedef {{event: any, parent: Node|null, children: Node[], place: number, isRepeated: boolean,
 *   sum: object, group: object|null, lane: number, part: string|null}} Node
 * place: among those of its parent; the first is 1
 * isRepeated: the event was sent again, and the later one counts
 */

/**
 * Make the tree of these events; those of one parent are in the order in which they began, and
 * one of those that led to itself stands at the top.
 *
 * @returns {Node[]} those at the top
 */
export function growTree(events) {
  const nodes = events
    .map((event) => ({ event, parent: null, children: [], place: 0, isRepeated: false }))
    .sort((a, b) => rank(a) - rank(b) || a.event.start - b.event.start || a.event.id - b.event.id);
  const byId = new Map();
  for (const [place, node] of nodes.entries()) {
    node.place = place;
    const { event_id: id } = node.event;
    // An event that was sent again is here twice: the later is the one that counts.
    if (!(byId.get(id)?.event.id > node.event.id)) byId.set(id, node);
  }
  for (const node of nodes) {
    const { event_id: id, parent_id: parentId, session_id: sessionId } = node.event;
    node.isRepeated = byId.get(id) !== node;
    const root = byId.get(sessionId) ?? null;
    if (node !== root) node.parent = byId.get(parentId) ?? root;
  }
  cutCircles(nodes);
  const top = [];
  for (const node of nodes) {
    const siblings = node.parent?.children ?? top;
    node.place = siblings.push(node);
  }
  addUp(nodesOf(top));
  findLanes(top);
  return top;
}

/**
 * List what is seen of a tree from top to bottom, and how deep each stands; the top is level 1.
 *
 * A rail joins the branches that run side by side: `rails` has the level of each that goes on
 * through the rows of what is below one of them.
 *
 * @param {Set<number>} folded the rows whose children are not seen
 * @returns {{node: Node, level: number, rails: number[]}[]}
 */
export function unfold(top, folded) {
  const seen = [];
  const waiting = top.map((node) => ({ node, level: 1, rails: [] })).reverse();
  while (waiting.length) {
    const next = waiting.pop();
    seen.push(next);
    const { node, level, rails } = next;
    if (folded.has(node.event.id)) continue;
    const goesOn = node.part !== null && node.part !== "last" && level <= DEEPEST_RAIL;
    const below = goesOn ? [...rails, level] : rails;
    for (const child of node.children.toReversed())
      waiting.push({ node: child, level: level + 1, rails: below });
  }
  return seen;
}

/** All nodes of a tree, each before those below it. */
export function nodesOf(top) {
  const nodes = [...top];
  for (let at = 0; at < nodes.length; at += 1) nodes.push(...nodes[at].children);
  return nodes;
}

/** The nodes that lead to this one, from the top on. */
export function wayTo(node) {
  const way = [];
  for (let above = node.parent; above !== null; above = above.parent) way.push(above);
  return way.reverse();
}

/** The session's own event is first: it may be stamped when the first of the others ends. */
function rank({ event }) {
  return event.event_id === event.session_id ? 0 : 1;
}

/** Take its parent from the first of each circle. */
function cutCircles(nodes) {
  const ways = new Map(); // on whose way up each was met first
  for (const start of nodes) {
    let node = start;
    while (node !== null && !ways.has(node)) {
      ways.set(node, start);
      node = node.parent;
    }
    if (node !== null && ways.get(node) === start) firstOf(node).parent = null;
  }
}

function firstOf(start) {
  let first = start;
  for (let node = start.parent; node !== start; node = node.parent)
    if (node.place < first.place) first = node;
  return first;
}
