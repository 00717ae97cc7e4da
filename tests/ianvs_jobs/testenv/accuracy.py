from sedna.common.class_factory import ClassFactory, ClassType

__all__ = ["accuracy"]


@ClassFactory.register(ClassType.GENERAL, alias="accuracy")
def accuracy(y_true, y_pred):
    labels = [int(label.split("/")[-1]) for label in y_true]
    hits = sum(label == guess for label, guess in zip(labels, y_pred["pred"], strict=True))
    return round(100 * hits / len(labels), 2)
