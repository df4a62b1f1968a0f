// Elements from data, and one tree brought to look like another. Text is always
// text: nothing that a caller or a vendor wrote is read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "rect", "line", "path", "polyline", "text", "title"]);

/** An element: `h("p", { class: "quiet" }, "text", otherElement)`. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Brings what is in `parent` to look like `wanted`; what is alike stays, with focus and selection. */
export function morph(parent, wanted) {
  const next = [wanted].flat(Infinity).filter(Boolean).map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
  next.forEach((child, index) => {
    const is = parent.childNodes[index];
    if (!is) parent.append(child);
    else if (is.nodeName !== child.nodeName) is.replaceWith(child);
    else if (child.nodeType === Node.TEXT_NODE) {
      if (is.data !== child.data) is.data = child.data;
    } else adopt(is, child);
  });
  while (parent.childNodes.length > next.length) parent.lastChild.remove();
}

function adopt(is, child) {
  for (const { name } of [...is.attributes]) {
    // An opened <details> is the reader's doing.
    if (!child.hasAttribute(name) && name !== "open") is.removeAttribute(name);
  }
  for (const { name, value } of child.attributes) {
    if (is.getAttribute(name) === value) continue;
    // The policy of the page forbids style attributes, not styles set by its own script.
    if (name === "style") is.style.cssText = child.style.cssText;
    else is.setAttribute(name, value);
  }
  morph(is, [...child.childNodes]);
}
