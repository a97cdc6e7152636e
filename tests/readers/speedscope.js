// Reads profiles with speedscope's own importers, without its page, and prints what it made of
// them as JSON: for each file its profiles, each with its frames and what is on which stack.
//
// usage: node speedscope.js RELEASE-FOLDER FILE...
"use strict";
const fs = require("fs");
const path = require("path");

// What its bundle touches of a browser before anything is shown.
const anything = new Proxy(function () {}, {
  get: (_, key) => (key === Symbol.toPrimitive ? () => "" : anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything,
});
globalThis.window = globalThis;
globalThis.self = globalThis;
for (const name of ["document", "location", "localStorage", "matchMedia", "addEventListener",
                    "requestAnimationFrame", "HTMLElement", "Element", "Node", "history"])
  if (!(name in globalThis)) globalThis[name] = anything;

function importers(folder) {
  const file = fs.readdirSync(folder).find((f) => /^speedscope-.*\.js$/.test(f));
  const code = fs.readFileSync(path.join(folder, file), "utf8");
  const start = code.lastIndexOf("console.log(`speedscope v");
  const module = /\(await (\w+)\)\.importProfilesFromArrayBuffer/.exec(code);
  if (start < 0 || !module) throw new Error("speedscope's bundle is not as it was known");
  // The page begins where it says its version: the importers are taken instead.
  (0, eval)(code.slice(0, start) + `globalThis.importersOfSpeedscope=${module[1]}})();`);
  return globalThis.importersOfSpeedscope;
}

function describe(profile) {
  const stacks = [];
  const path = [];
  const walk = (node) => {
    for (const child of node.children) {
      path.push(child.frame.name);
      if (child.getSelfWeight()) stacks.push([path.slice(), child.getSelfWeight()]);
      walk(child);
      path.pop();
    }
  };
  walk(profile.getGroupedCalltreeRoot());
  const frames = [];
  profile.forEachFrame((f) => frames.push({name: f.name, file: f.file || null,
                                           line: f.line === undefined ? null : f.line}));
  return {name: profile.getName(), unit: profile.getWeightUnit(), frames, stacks};
}

async function main([folder, ...files]) {
  const said = console.log;
  console.log = console.info = () => {};
  const warnings = [];
  console.warn = console.error = (...text) => warnings.push(text.join(" "));
  const importer = await importers(folder);
  const out = [];
  for (const file of files) {
    const bytes = fs.readFileSync(file);
    const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    const group = await importer.importProfilesFromArrayBuffer(path.basename(file), data);
    if (!group || !group.profiles.length) throw new Error(`${file}: it finds no profile`);
    out.push({name: group.name, profiles: group.profiles.map(describe), warnings});
  }
  said(JSON.stringify(out));
}

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`${error && error.stack || error}\n`);
  process.exit(1);
});
