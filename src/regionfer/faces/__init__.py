"""From an image to aligned faces: detect, align, head pose. Detectors are interchangeable."""

from regionfer.faces.alignment import align_faces, aligned_landmarks
from regionfer.faces.detection import Detections, FaceDetector
from regionfer.faces.mtcnn import MTCNN
from regionfer.faces.pose import head_pose
from regionfer.faces.yunet import YuNet

__all__ = ["MTCNN", "Detections", "FaceDetector", "YuNet", "align_faces", "aligned_landmarks", "head_pose"]
