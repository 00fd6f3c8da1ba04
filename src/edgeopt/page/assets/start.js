// No module: it also runs where modules may not be loaded, and says so.
const problem = document.getElementById("error");

function fail(message) {
  document.body.dataset.state = "error";
  document.getElementById("loading").hidden = true;
  problem.textContent = message;
  problem.hidden = false;
}

if (location.protocol === "file:") {
  fail("A browser lets no page that is opened as a file load a model. In this folder run\npython3 -m http.server --bind 127.0.0.1\nand open http://127.0.0.1:8000/");
} else {
  import("./page.js").then((page) => page.start(fail)).catch((error) => fail(`This page could not start: ${error.message}`));
}
