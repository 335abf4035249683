//! The mistakes that can be planted into the protocol, each of which the checker has to find.

/// One way to get the protocol wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// A deletion's question is answered, and binds nobody.
    NoFence,
    /// Withdrawing a blockade removes its deployment from the sources, too.
    WithdrawalDropsSource,
    /// A source says that it holds nothing, and does not write the fence.
    HoldsNoneUnfenced,
    /// The verdict compares epoch, sources and blockades, not the count of grants.
    ComparedByValue,
    /// The owner's own deployment is asked like any source, and its indexes are no condition.
    OwnDeploymentListed,
    /// A stricter behaviour on a target that is held already asks nobody.
    StricterIsNothingNew,
    /// The row of a target made anew begins at 1, and does not heed the fences that sources name.
    EpochRestarts,
    /// A source is marked as leaving at the epoch that there is.
    ClearingKeepsEpoch,
    /// A resource made anew begins at the version that its namesake began at.
    RowVersionReturns,
    /// The consequences of a deletion are applied to all that refer to the name, whatever the uid.
    EventMatchedByName,
    /// A grant writes nothing although an attempt to delete is open.
    ReadOnlyWhileAttemptOpen,
    /// A grant writes nothing although its source is marked as leaving.
    ReadOnlyWhileLeaving,
    /// A grant that writes nothing is answered from a picture of the row that may be old.
    ReadOnlyFromOldPicture,
    /// A grant that comes while an attempt is open ends its mark, but is not counted.
    GrantNotCounted,
    /// A grant for a leaving source leaves the mark where it is.
    GrantKeepsLeavingMark,
    /// An attempt to delete asks at the epoch that there is.
    AttemptKeepsEpoch,
    /// A blockade that has expired takes its source along, without a question.
    ExpiryDropsSource,
    /// A fence is dropped although saves are under way that began before it.
    FenceDroppedEarly,
    /// A source answers a question from what it looked up before the question came.
    AnswerFromOldView,
    /// A save takes a grant that was given to an earlier one.
    GrantOutlivesSave,
}

impl Mistake {
    /// All of them, in the order of the documentation.
    pub const ALL: [Mistake; 20] = [
        Mistake::NoFence,
        Mistake::WithdrawalDropsSource,
        Mistake::HoldsNoneUnfenced,
        Mistake::ComparedByValue,
        Mistake::OwnDeploymentListed,
        Mistake::StricterIsNothingNew,
        Mistake::EpochRestarts,
        Mistake::ClearingKeepsEpoch,
        Mistake::RowVersionReturns,
        Mistake::EventMatchedByName,
        Mistake::ReadOnlyWhileAttemptOpen,
        Mistake::ReadOnlyWhileLeaving,
        Mistake::ReadOnlyFromOldPicture,
        Mistake::GrantNotCounted,
        Mistake::GrantKeepsLeavingMark,
        Mistake::AttemptKeepsEpoch,
        Mistake::ExpiryDropsSource,
        Mistake::FenceDroppedEarly,
        Mistake::AnswerFromOldView,
        Mistake::GrantOutlivesSave,
    ];
}
