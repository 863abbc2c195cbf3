"use strict";
// Makes one element of the page like another, and touches only what differs: what has the focus, is selected,
// scrolled or opened stays so. Elements with `data-own` belong to scripts, and forms to the person who types.

const morph = (() => {
  // What an element is about: of two rows of a table, that of the same event, wherever it is now.
  const keyOf = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
    if (node.dataset?.key) return `${node.nodeName}!${node.dataset.key}`;
    if (node.id) return `${node.nodeName}#${node.id}`;
    if (node.nodeName === "A") return `A@${node.getAttribute("href")}`;
    if (node.nodeName !== "TR" && node.nodeName !== "LI") return node.nodeName;
    const name = node.querySelector("th, a[href]");
    return `${node.nodeName}:${name ? name.textContent.trim() : ""}`;
  };

  const isOwn = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-own");

  // The pairs of a longest common subsequence of two lists of keys, as a map from the second list to the first.
  const pairs = (old, next) => {
    const found = new Map();
    let start = 0;
    let oldEnd = old.length;
    let nextEnd = next.length;
    while (start < oldEnd && start < nextEnd && old[start] === next[start]) found.set(start, start++);
    while (oldEnd > start && nextEnd > start && old[oldEnd - 1] === next[nextEnd - 1]) found.set(--nextEnd, --oldEnd);
    const width = nextEnd - start + 1;
    const lengths = new Uint16Array((oldEnd - start + 1) * width);
    for (let i = oldEnd - 1; i >= start; i--) {
      for (let j = nextEnd - 1; j >= start; j--) {
        const at = (i - start) * width + j - start;
        lengths[at] = old[i] === next[j]
          ? lengths[at + width + 1] + 1
          : Math.max(lengths[at + width], lengths[at + 1]);
      }
    }
    for (let i = start, j = start; i < oldEnd && j < nextEnd;) {
      const at = (i - start) * width + j - start;
      if (old[i] === next[j]) found.set(j++, i++);
      else if (lengths[at + width] >= lengths[at + 1]) i++;
      else j++;
    }
    return found;
  };

  const attributes = (element, next) => {
    for (const { name } of [...element.attributes]) {
      // Whether something is open is for its reader to say.
      if (name !== "open" && !name.startsWith("data-own") && !next.hasAttribute(name)) element.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (name !== "open" && element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
  };

  const children = (element, next) => {
    const old = [...element.childNodes].filter((node) => !isOwn(node));
    const wanted = [...next.childNodes];
    const oldKeys = old.map(keyOf);
    const wantedKeys = wanted.map(keyOf);
    const found = pairs(oldKeys, wantedKeys);
    const kept = new Set(found.values());
    // What has moved past others is moved, and not made again: its details stay open.
    const moved = new Map();
    oldKeys.forEach((key, i) => { if (!kept.has(i) && /[!#]/.test(key) && key[0] !== "#") moved.set(key, i); });
    wantedKeys.forEach((key, j) => {
      if (!found.has(j) && moved.has(key)) {
        found.set(j, moved.get(key));
        kept.add(moved.get(key));
        moved.delete(key);
      }
    });
    old.forEach((node, i) => { if (!kept.has(i)) node.remove(); });
    let last = null;
    wanted.forEach((node, j) => {
      const here = found.has(j) ? old[found.get(j)] : document.importNode(node, true);
      let place = last === null ? element.firstChild : last.nextSibling;
      while (place !== null && isOwn(place)) place = place.nextSibling;
      if (here !== place) element.insertBefore(here, place);
      if (found.has(j)) one(here, node);
      last = here;
    });
  };

  const one = (node, next) => {
    if (node.nodeType !== Node.ELEMENT_NODE) {
      if (node.nodeValue !== next.nodeValue) node.nodeValue = next.nodeValue;
    } else if (node.nodeName !== "FORM" && !node.isEqualNode(next)) {
      attributes(node, next);
      children(node, next);
    }
  };

  return (element, next) => {
    const focused = document.activeElement;
    one(element, next);
    // An element that is moved loses the focus.
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  };
})();
