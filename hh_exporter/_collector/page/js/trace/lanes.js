/*
 * Which branches of a tree run side by side.
 *
 * Those below one parent whose times overlap are a group, and each has a lane of its own in it.
 * Clocks are read twice: what overlaps by a millisecond at most comes one after the other.
 */

const SLACK = 1;

/**
 * A group of branches side by side.
 *
 * @typedef {{size: number, lanes: number}} Group
 * lanes: how many run at once, at most
 */

/**
 * Give each node of a tree its `group`, null if it runs alone, and its `lane`, from 0 on.
 *
 * `part` says where its row is among those of a group: "first", "middle", "last", or "through" if
 * it only stands between them; null elsewhere.
 */
export function findLanes(top) {
  const waiting = [top];
  for (let siblings = waiting.pop(); siblings !== undefined; siblings = waiting.pop()) {
    groupSiblings(siblings);
    for (const { children } of siblings) if (children.length) waiting.push(children);
  }
}

/** How many of these run at once, at most. */
export function widest(siblings) {
  return siblings.reduce((most, { group }) => Math.max(most, group?.lanes ?? 1), 1);
}

/** They are in the order in which they begin. */
function groupSiblings(siblings) {
  let members = []; // their places
  let ends = []; // of the lanes
  const close = () => {
    if (members.length > 1) join(siblings, members, ends.length);
    members = [];
    ends = [];
  };
  for (const [place, node] of siblings.entries()) {
    Object.assign(node, { group: null, lane: 0, part: null });
    const { start, duration } = node.event;
    if (node.isRepeated || !(duration > 0)) continue;
    if (ends.every((end) => end - start <= SLACK)) close();
    const free = ends.findIndex((end) => end - start <= SLACK);
    node.lane = free < 0 ? ends.length : free;
    ends[node.lane] = start + duration;
    members.push(place);
  }
  close();
}

function join(siblings, members, lanes) {
  const [first] = members;
  const last = members.at(-1);
  const group = { size: members.length, lanes };
  for (let place = first; place <= last; place += 1) siblings[place].part = "through";
  for (const place of members) Object.assign(siblings[place], { group, part: "middle" });
  siblings[first].part = "first";
  siblings[last].part = "last";
}
