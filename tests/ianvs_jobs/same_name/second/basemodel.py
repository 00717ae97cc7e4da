from sedna.common.class_factory import ClassFactory, ClassType
from who import NAME


@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")
class BaseModel:
    def load(self, model_url):
        self.model_url = model_url

    def predict(self, data):
        import who

        return {"pred": [0] * len(data), "stages": f"{NAME} {who.NAME}"}
