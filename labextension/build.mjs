/** Builds the notebook widget's module and its licences into the Python package, and holds them to their budget. */

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, '../ec_jupyter/static');
// the module is saved with every notebook that keeps its widgets, so its size is the reader's to pay
const BUDGET = { raw: 600_000, gzip: 190_000 };

// What React Flow brings and this editor never reaches: its viewport jumps without animation.
const NEVER_REACHED = {
  'd3-transition':
    'import { selection } from "d3-selection";' +
    'export const interrupt = () => {};' +
    'selection.prototype.interrupt = function () { return this; };',
  'd3-interpolate': 'const none = () => null; export { none as interpolate, none as interpolateZoom };'
};

const leaner = {
  name: 'leaner',
  setup(build) {
    build.onResolve({ filter: /^d3-(transition|interpolate)$/ }, ({ path, resolveDir }) => ({
      path,
      namespace: 'never-reached',
      pluginData: { resolveDir }
    }));
    build.onLoad({ filter: /.*/, namespace: 'never-reached' }, ({ path, pluginData }) => ({
      contents: NEVER_REACHED[path],
      resolveDir: pluginData.resolveDir
    }));
    // so that a component nobody uses is left out: making one is marked as pure, its display
    // name is a side effect, and our nodes and edges are all of our own types
    build.onLoad({ filter: /@xyflow[\\/]react[\\/]dist[\\/]esm[\\/]index\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8'))
        .replace(/^\w+\.displayName = '\w+';$/gm, '')
        .replace(/const builtin(Node|Edge)Types = \{[^}]*\}/g, 'const builtin$1Types = {}')
        .replace(/= ((?:memo|\w*[fF]orwardRef|createContext|create\w+Edge)\()/g, '= /* @__PURE__ */ $1')
    }));
  }
};

/** Names, versions and texts of the licences of every package that went into the bundle. */
async function licences(metafile) {
  const roots = new Set();
  for (const output of Object.values(metafile.outputs)) {
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (found && bytesInOutput) roots.add(resolve(HERE, found[1]));
    }
  }
  const packages = await Promise.all([...roots].sort().map(licence));
  return { packages };
}

async function licence(root) {
  const { name, version, license } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const file = (await readdir(root)).find(entry => /^licen[cs]e/i.test(entry));
  const extractedText = file ? await readFile(join(root, file), 'utf8') : '';
  return { name, versionInfo: version, licenseId: license, extractedText };
}

function bundle({ entry, outfile }) {
  return build({
    entryPoints: [join(HERE, entry)],
    outfile,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [leaner],
    legalComments: 'none',
    metafile: true,
    absWorkingDir: HERE,
    logLevel: 'warning'
  });
}

/** React Flow's own rules, only inside our editor: another widget of the page may bring another version of it. */
async function scopedFlowStyle() {
  const css = await readFile(join(HERE, 'node_modules/@xyflow/react/dist/base.css'), 'utf8');
  const scoped = css
    .replace(/\/\*.*?\*\//gs, '')
    .replace(/^([^@{}\n][^{}]*)\{/gm, (_rule, selectors) => {
      const own = selectors.split(',').map(selector => selector.trim());
      // the steps of an animation are no selectors
      return own.every(selector => /^(from|to|\d+%)$/.test(selector)) ? _rule : `.ec-root ${own.join(', .ec-root ')} {`;
    })
    .replace(/\n\s*\n/g, '\n');
  await writeFile(join(HERE, 'style/flow.css'), `/* Made by build.mjs of React Flow's base.css (MIT). */\n${scoped.trim()}\n`);
}

await scopedFlowStyle();
await mkdir(STATIC, { recursive: true });
const { metafile } = await bundle({ entry: 'src/widget.ts', outfile: join(STATIC, 'editor.js') });
// what is loaded when it is first opened
for (const [part, entry] of Object.entries({ timeline: 'timeline/chart', sources: 'editor/sources' })) {
  const { metafile: more } = await bundle({ entry: `src/${entry}.ts`, outfile: join(STATIC, `${part}.js`) });
  Object.assign(metafile.outputs, more.outputs);
}
await bundle({ entry: 'style/editor.css', outfile: join(STATIC, 'editor.css') });
await writeFile(join(STATIC, 'editor.licenses.json'), JSON.stringify(await licences(metafile), null, 1) + '\n');

// esbuild minifies in an instant, terser takes seconds and finds another 4 %
const { code } = await minify(await readFile(join(STATIC, 'editor.js'), 'utf8'), {
  module: true,
  ecma: 2020,
  compress: { passes: 3, unsafe_arrows: true }
});
await writeFile(join(STATIC, 'editor.js'), code);
const script = Buffer.from(code);
const size = { raw: script.length, gzip: gzipSync(script, { level: 9 }).length };
console.log(`${relative(process.cwd(), join(STATIC, 'editor.js'))}: ${size.raw} bytes, ${size.gzip} gzipped`);
for (const kind of ['raw', 'gzip']) {
  if (size[kind] > BUDGET[kind]) {
    console.error(`editor.js has ${size[kind]} bytes ${kind}; its budget is ${BUDGET[kind]}`);
    process.exitCode = 1;
  }
}
