// The traces we draw and no others: a third of the size of the whole library, and nothing that needs eval.
const Plotly = require("plotly.js/lib/core");

Plotly.register([
  require("plotly.js/lib/bar"),
  require("plotly.js/lib/pie"),
  require("plotly.js/lib/treemap"),
  require("plotly.js/lib/heatmap"),
  require("plotly.js/lib/candlestick"),
  require("plotly.js/lib/histogram"),
]);

module.exports = Plotly;
