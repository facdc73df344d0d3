// Descriptors of faces by dlib's face recognition network, computed by face-api.js.
//
//   node descriptors.mjs FOLDER FACES.raw DESCRIPTORS.raw
//
// FOLDER: has face_recognition_model-weights_manifest.json and its shards. FACES.raw: uint8 RGB, (n, 150, 150, 3).
// DESCRIPTORS.raw: float32 little endian, (n, D).

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');

const SIDE = 150;
const [folder, facesPath, outputPath] = process.argv.slice(2);
wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`);
await tf.setBackend('wasm');
await tf.ready();
await faceapi.nets.faceRecognitionNet.loadFromDisk(folder);
const rgb = readFileSync(facesPath);
const size = SIDE * SIDE * 3;
const descriptors = [];
for (let start = 0; start < rgb.length; start += size) {
  const face = tf.tensor3d(new Uint8Array(rgb.subarray(start, start + size)), [SIDE, SIDE, 3], 'int32');
  descriptors.push(...await faceapi.nets.faceRecognitionNet.computeFaceDescriptor(face));
}
writeFileSync(outputPath, Buffer.from(Float32Array.from(descriptors).buffer));
