// face-api.js's answers to the job of benchmarks/peers/compare.py: node answer.mjs JOB.json RESULT.json
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const sharp = require('sharp');
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');

const folder = (name) => path.dirname(require.resolve(`${name}/package.json`));
const job = JSON.parse(fs.readFileSync(process.argv[2]));

async function read(file) {
  const { data, info } = await sharp(file).toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return tf.tensor3d(new Uint8Array(data), [info.height, info.width, info.channels], 'int32');
}

async function find(file) {
  const picture = await read(file);
  const faces = await faceapi.detectAllFaces(picture, new faceapi.SsdMobilenetv1Options()).withFaceExpressions();
  picture.dispose();
  return faces.length;
}

async function classify(file) {
  const face = await read(file);
  const rgb = face.shape[2] === 3 ? face : tf.tile(face, [1, 1, 3]);
  const scores = await faceapi.nets.faceExpressionNet.predictExpressions(rgb);
  rgb.dispose();
  face.dispose();
  return { ...scores };
}

const started = performance.now();
wasm.setWasmPaths(`${folder('@tensorflow/tfjs-backend-wasm')}/dist/`);
await tf.setBackend('wasm');
await tf.ready();
const model = `${folder('@vladmandic/face-api')}/model`;
await faceapi.nets.ssdMobilenetv1.loadFromDisk(model);
await faceapi.nets.faceExpressionNet.loadFromDisk(model);
let found = 0;
for (const photo of job.photos) found += await find(photo);
const start = (performance.now() - started) / 1000;
const seconds = [];
for (let round = 0; round < job.rounds; round += 1) {
  const from = performance.now();
  for (const photo of job.photos) await find(photo);
  seconds.push((performance.now() - from) / 1000);
}
const answers = [];
for (const face of job.faces) answers.push(await classify(face));
fs.writeFileSync(process.argv[3], JSON.stringify({ start, seconds, found, answers }));
