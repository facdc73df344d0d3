// What TensorFlow.js itself computes with Face Mesh, to check face_mesh.py against.
//
//   node mesh.mjs facemesh.json IMAGES.raw MESHES.raw
//
// IMAGES.raw: float32 RGB in 0..1, (n, 192, 192, 3). MESHES.raw: float32, (n, 1404) points, then (n, 1) flags.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { loadGraphModel } from '@tensorflow/tfjs-converter';

const SIDE = 192;

const [modelPath, imagesPath, outputPath] = process.argv.slice(2);
const { modelTopology, weightsManifest } = JSON.parse(readFileSync(modelPath, 'utf8'));
const shards = weightsManifest.flatMap((group) => group.paths).map((name) => readFileSync(join(dirname(modelPath), name)));
const weightData = Uint8Array.from(Buffer.concat(shards)).buffer;
const weightSpecs = weightsManifest.flatMap((group) => group.weights);
await tf.setBackend('cpu');
const model = await loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData, format: 'graph-model' }));
const images = new Float32Array(Uint8Array.from(readFileSync(imagesPath)).buffer);
const input = tf.tensor4d(images, [images.length / (SIDE * SIDE * 3), SIDE, SIDE, 3]);
const results = await model.execute({ input_1: input }, ['Identity_2', 'Identity_1']);
const parts = await Promise.all(results.map((result) => result.data()));
writeFileSync(outputPath, Buffer.concat(parts.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength))));
