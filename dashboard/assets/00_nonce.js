// Give the page's nonce to every style element that a component creates, so that the policy can refuse all others.
(() => {
  "use strict";
  const meta = document.querySelector("meta[name=csp-nonce]");
  const nonce = meta && meta.content;
  if (!nonce) return;
  meta.remove();
  const create = Document.prototype.createElement;
  Document.prototype.createElement = function createElement(name, ...rest) {
    const element = create.call(this, name, ...rest);
    if (typeof name === "string" && name.toLowerCase() === "style") element.nonce = nonce;
    return element;
  };
})();
