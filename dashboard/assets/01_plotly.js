// Charts use our own slim build: Dash asks for whatever stands here, and would set its own address later.
(() => {
  "use strict";
  const meta = document.querySelector("meta[name=plotly]");
  Object.defineProperty(window, "_dashPlotlyJSURL", { get: () => meta.content, set() {} });
})();
