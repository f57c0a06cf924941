"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const quoted = (name) => `"${CSS.escape(name)}"`;

  // formulas: each is written once, in shorthand; where it stands, its text holds the place
  const tags = {
    r: "mrow", i: "mi", n: "mn", o: "mo", x: "mtext", f: "mfrac", q: "msqrt", s: "msub", p: "msup", b: "msubsup",
    u: "munder", v: "mover", t: "mtable", l: "mtr", d: "mtd", w: "mspace",
  };
  const long = (short) => {
    const open = [];
    return short.replace(/j\{([^{}]*)\}|([a-z])( [^{}]*)?\{|\}/g, (_, index, tag, more) => {
      if (index) return `<mi data-i="${index}">${index}</mi>`;
      if (!tag) return `</${open.pop()}>`;
      open.push(tags[tag]);
      return `<${tags[tag]}${more || ""}>`;
    });
  };
  const made = document.getElementById("formulas").textContent.split("\n").map((short) => {
    const box = document.createElement("template");
    box.innerHTML = `<math>${long(short)}</math>`;
    return box.content.firstChild;
  });
  for (const place of all("f-"))
    place.replaceChildren(made[place.getAttribute("n")].cloneNode(true));

  for (const index of all("i")) index.dataset.i = index.textContent;

  // pointing at an index, or focusing it, shows it everywhere
  const marks = document.head.appendChild(document.createElement("style"));
  const mark = (index) => {
    const at = `[data-i=${quoted(index)}]`;
    marks.textContent = index === null ? "" :
      `${at}{background:var(--mark)}svg ${at}{stroke-width:5}svg ${at} text{font-weight:700}` +
      `.chips ${at}{background:var(--mark);border-color:currentColor}`;
  };
  const under = (event) => event.target.closest ? event.target.closest("[data-i]") : null;
  for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(on, (event) => { const found = under(event); if (found) mark(found.dataset.i); });
    document.addEventListener(off, (event) => { if (under(event)) mark(null); });
  }

  // choosing a gradient: its story, and the way it came
  const stories = all(".story");
  const named = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { /* a malformed address chooses nothing */ }
    return stories.find((story) => story.id === id);
  };
  const from = new Map(stories.map((story) => [story.dataset.of, story.dataset.from.split(" ")]));
  const wayTo = (name) => {
    const seen = new Set([name]);
    for (const one of seen) for (const other of from.get(one) || []) if (from.has(other)) seen.add(other);
    return seen;
  };
  const shortest = (name) => {
    const ways = [[name]], seen = new Set([name]);
    for (const way of ways)
      for (const other of from.get(way.at(-1)) || []) {
        if (!from.has(other)) return way;
        if (!seen.has(other)) { seen.add(other); ways.push([...way, other]); }
      }
    return [name];
  };
  for (const story of stories) {
    const line = story.querySelector(".way");
    if (!line) continue;
    const name = story.dataset.of;
    const way = shortest(name);
    const start = line.dataset.start;
    line.replaceChildren(way.length === wayTo(name).size ? "Its way: " : "Its shortest way: ");
    for (const one of way) {
      const link = document.createElement(one === name ? "b" : "a");
      if (one !== name) link.href = `#story-${one}`;
      link.textContent = one;
      line.append(link, " ← ");
    }
    line.append(start);
  }
  const choose = () => {
    const asked = named();
    const story = asked || stories.find((one) => one.classList.contains("chosen")) || stories.find((one) => one.dataset.first) || stories[0];
    if (!story) return reachable();
    const way = wayTo(story.dataset.of);
    for (const one of stories) one.classList.toggle("chosen", one === story);
    for (const one of all("[data-t]")) {
      const here = one.dataset.t === story.dataset.of;
      one.classList.toggle("chosen", here);
      one.classList.toggle("on-path", way.has(one.dataset.t));
      const link = one.closest("a") || one.querySelector("a");
      if (link) here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    }
    for (const edge of all("[data-to]")) edge.classList.toggle("on-path", way.has(edge.dataset.to) && edge.dataset.back === "1");
    reachable();
    if (asked) story.scrollIntoView();
  };

  // what scrolls sideways can be reached with the keyboard
  const reachable = () => {
    for (const box of all(".display, figure > div, pre, dd, .scroll"))
      box.scrollWidth > box.clientWidth ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex");
  };

  const copied = async (button) => {
    const text = all("pre", button.parentElement).find((one) => one.offsetParent !== null).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  for (const button of all(".copy")) button.addEventListener("click", () => copied(button));

  addEventListener("hashchange", choose);
  addEventListener("resize", reachable);
  document.addEventListener("change", reachable);
  choose();
})();
