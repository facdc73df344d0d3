// Features of faces by a face recognition MobileNet, computed by TensorFlow.js.
//
//   node features.mjs MODEL.json FACES.raw SIDE FEATURES.raw
//
// FACES.raw: uint8 RGB, (n, SIDE, SIDE, 3). FEATURES.raw: float32 little endian, (n, D).

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { loadGraphModel } from '@tensorflow/tfjs-converter';

const MEAN_BGR = [103.939, 116.779, 123.68];
const INPUT = 'input_1';
const FEATURES = 'global_pooling/Mean';

async function load(path) {
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(path, 'utf8'));
  // The graph is published for 224 x 224; it is fully convolutional up to the features, so any side will do.
  const input = modelTopology.node.find((node) => node.name === INPUT);
  input.attr.shape.shape.dim.slice(1, 3).forEach((dim) => { dim.size = '-1'; });
  const shards = weightsManifest.flatMap((group) => group.paths).map((name) => readFileSync(join(dirname(path), name)));
  const weightData = Uint8Array.from(Buffer.concat(shards)).buffer;
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  return loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData, format: 'graph-model' }));
}

function normalise(rgb) {
  const bgr = new Float32Array(rgb.length);
  for (let i = 0; i < rgb.length; i += 3) {
    for (let channel = 0; channel < 3; channel++) bgr[i + channel] = rgb[i + 2 - channel] - MEAN_BGR[channel];
  }
  return bgr;
}

const [modelPath, facesPath, sideText, outputPath] = process.argv.slice(2);
const side = Number(sideText);
const rgb = readFileSync(facesPath);
await tf.setBackend('cpu');
const model = await load(modelPath);
const faces = tf.tensor4d(normalise(rgb), [rgb.length / (side * side * 3), side, side, 3]);
const features = await model.execute({ [INPUT]: faces }, FEATURES).data();
writeFileSync(outputPath, Buffer.from(features.buffer, features.byteOffset, features.byteLength));
