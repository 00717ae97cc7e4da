import argparse
import sys

from sedna.common.class_factory import ClassFactory, ClassType


@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")
class BaseModel:
    def __init__(self, how):
        self.how = how

    def load(self, model_url):
        argparse.ArgumentParser().parse_args()
        if self.how == "raises":
            raise ValueError("the model\nhas a leak")

    def predict(self, data):
        sys.exit(3)
